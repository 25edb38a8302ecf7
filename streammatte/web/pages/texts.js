// Every text of the pages, in English and Chinese; settings by their option's name.
// @ts-check

/** @type {Record<string, Record<string, string>>} */
export const TEXTS = {
  en: {
    pages: "Pages", live: "Live", files: "Videos and images", language: "Language", image: "Image", settings: "Settings",
    welcome: "Choose a camera and start.", compare: "Compare with the camera", camera: "Camera", size: "Size", start: "Start", stop: "Stop",
    hold: "Be right back", snapshot: "Snapshot", record: "Record", virtual: "Virtual camera", stream: "Stream",
    streamUrl: "Address (rtmp, srt, rtsp)", presets: "Presets", name: "Name", save: "Save", apply: "Apply", export: "Export", remove: "Remove",
    command: "The same from a terminal", background: "Background", addFile: "Add files", addFolder: "Add a folder", color: "Colour",
    browserCamera: "Camera of this browser", machineCamera: "Camera of the machine", starting: "Starting the network ...",
    connecting: "Connecting ...", lost: "The connection was lost; connecting again ...", noCamera: "The browser gives no camera: ",
    noServer: "The studio does not answer; it may have been ended.", noToken: "Open the address that the studio printed: it holds the key to this page.",
    fps: "frames/s", latency: "latency p50 / p95", drops: "drops", network: "network", cpu: "CPU cores", state: "state", ms: "ms",
    pickPerson: "Pick a person", choose: "Pick one person in the image", everyone: "Everyone again",
    recordings: "Recordings", dropHere: "Drop videos or images here, or choose them", noFiles: "No files yet.", preview: "Preview",
    chooseFile: "Choose a file.", moment: "Moment", format: "Format", transparent: "transparent", making: "Making the preview ...",
    run: "Start", cancel: "Cancel", download: "Download", show: "Preview", uploading: "Uploading", left: "left",
    new: "not started", waiting: "waiting", running: "under way", done: "done", failed: "failed", canceled: "canceled",
    edge: "Edge", feather: "Feather", gamma: "Gamma", black_point: "Black point", white_point: "White point", min_area: "Smallest part (%)",
    fill_holes: "Fill holes up to (%)", largest_person: "Largest person only", despill: "Take the screen's light off", match_light: "Match the light",
    blur_strength: "Strength of the blur", framing: "Follow the person", smooth: "Smoothing", mirror: "Mirror", freeze: "Freeze", blur: "Blur the room",
    refine: "Edges", average: "Average with the mirror image", flip: "Flip", rotate: "Rotate", none: "none", off: "off", low: "low", high: "high", auto: "automatic",
    green: "green", blue: "blue", best: "best", fast: "fast", horizontal: "horizontal", vertical: "vertical",
    webVersion: "Without installation: the page in examples/web runs the network in the browser alone.",
  },
  zh: {
    pages: "页面", live: "直播", files: "视频和图片", language: "语言", image: "画面", settings: "设置",
    welcome: "请选择摄像头并开始。", compare: "与原始画面对比", camera: "摄像头", size: "尺寸", start: "开始", stop: "停止",
    hold: "马上回来", snapshot: "截图", record: "录制", virtual: "虚拟摄像头", stream: "推流",
    streamUrl: "地址（rtmp、srt、rtsp）", presets: "预设", name: "名称", save: "保存", apply: "应用", export: "导出", remove: "删除",
    command: "等效的命令行", background: "背景", addFile: "添加文件", addFolder: "添加文件夹", color: "颜色",
    browserCamera: "本浏览器的摄像头", machineCamera: "本机的摄像头", starting: "正在启动网络……",
    connecting: "正在连接……", lost: "连接中断，正在重新连接……", noCamera: "浏览器没有提供摄像头：",
    noServer: "服务没有响应，可能已经结束。", noToken: "请打开终端里显示的地址，其中含有本页的密钥。",
    fps: "帧/秒", latency: "延迟 p50 / p95", drops: "丢帧", network: "网络", cpu: "CPU 核", state: "状态", ms: "毫秒",
    pickPerson: "选择人物", choose: "在画面中选择一个人", everyone: "恢复所有人",
    recordings: "录像", dropHere: "把视频或图片拖到这里，或点击选择", noFiles: "还没有文件。", preview: "预览",
    chooseFile: "请选择文件。", moment: "时间点", format: "格式", transparent: "透明", making: "正在生成预览……",
    run: "开始", cancel: "取消", download: "下载", show: "预览", uploading: "正在上传", left: "剩余",
    new: "未开始", waiting: "排队中", running: "进行中", done: "完成", failed: "失败", canceled: "已取消",
    edge: "边缘", feather: "羽化", gamma: "伽马", black_point: "黑点", white_point: "白点", min_area: "最小区域（%）",
    fill_holes: "填补空洞（%）", largest_person: "只保留最大的人", despill: "去除幕布反光", match_light: "匹配光线",
    blur_strength: "模糊强度", framing: "跟随人物", smooth: "平滑", mirror: "镜像", freeze: "定格", blur: "模糊背景",
    refine: "边缘细化", average: "与镜像平均", flip: "翻转", rotate: "旋转", none: "无", off: "关", low: "低", high: "高", auto: "自动",
    green: "绿色", blue: "蓝色", best: "最佳", fast: "快速", horizontal: "水平", vertical: "垂直",
    webVersion: "免安装：examples/web 的页面只在浏览器中运行网络。",
  },
};

let language = localStorage.getItem("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en");

/** The text of a key; the key itself where there is none. @param {string} key */
export const text = (key) => TEXTS[language]?.[key] ?? TEXTS.en[key] ?? key;

/** Put the texts into the page, and again whenever the language is changed. @param {() => void} changed */
export function translate(changed) {
  const choice = /** @type {HTMLSelectElement} */ (document.getElementById("language"));
  const show = () => {
    document.documentElement.lang = language;
    for (const each of document.querySelectorAll("[data-text]")) each.textContent = text(/** @type {HTMLElement} */ (each).dataset.text ?? "");
    for (const each of document.querySelectorAll("[data-label]")) each.setAttribute("aria-label", text(/** @type {HTMLElement} */ (each).dataset.label ?? ""));
    for (const each of document.querySelectorAll("[data-alt]")) each.setAttribute("alt", text(/** @type {HTMLElement} */ (each).dataset.alt ?? ""));
    changed();
  };
  choice.value = language;
  choice.addEventListener("change", () => {
    language = choice.value;
    localStorage.setItem("language", language);
    show();
  });
  show();
}
