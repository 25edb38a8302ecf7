// The page for videos and images: a queue, a preview that follows the settings, the result to play and to keep.
// @ts-check
import { control, dropping, element, get, latest, openSession, post, say, send } from "./common.js";
import { text, translate } from "./texts.js";

/** @type {any} */ let state = null;
let chosen = sessionStorage.getItem("job") ?? "";
/** @type {Record<string, unknown>} */ let settings = JSON.parse(sessionStorage.getItem("settings") ?? "{}");
/** @type {Map<string, (value: any) => void>} */ const shows = new Map();
/** @type {HTMLSelectElement} */ const background = element("background");
/** @type {HTMLSelectElement} */ const suffix = element("suffix");
/** @type {HTMLInputElement} */ const at = element("at");
/** @type {HTMLImageElement} */ const preview = element("preview");

const SUFFIXES = /** @type {Record<string, string[]>} */ ({ video: [".mp4", ".mov", ".webm", ".mkv", ".gif"], image: [".png", ".jpg", ".webp"] });
const wanted = () => ({ ...settings, background: background.value });
const job = () => state?.jobs.find((/** @type {any} */ each) => each.id === chosen);

const draw = latest(async () => {
  const now = job();
  if (!now) return;
  element("notice").textContent = text("making");
  const query = new URLSearchParams({ at: at.value, settings: JSON.stringify(wanted()) });
  try {
    const answer = await fetch(`/files/job/${now.id}/preview.png?${query}`);
    if (!answer.ok) throw new Error((await answer.json()).error);
    const address = URL.createObjectURL(await answer.blob());
    URL.revokeObjectURL(preview.src);
    preview.src = address;
    preview.hidden = false;
    element("notice").textContent = "";
    say("");
  } catch (error) {
    element("notice").textContent = "";
    say(error);
  }
});
/** @type {ReturnType<typeof setTimeout> | undefined} */ let timer;
function drawSoon() {
  sessionStorage.setItem("settings", JSON.stringify(wanted()));
  clearTimeout(timer);
  timer = setTimeout(() => draw(null), 250);
}

/** @param {string} id */
function choose(id) {
  chosen = id;
  sessionStorage.setItem("job", id);
  const now = job();
  if (!now) return;
  suffix.replaceChildren(...SUFFIXES[now.kind].map((each) => new Option(each, each)));
  element("atRow").hidden = now.kind !== "video";
  at.max = String(Math.max(0, (now.seconds ?? 1) - 0.1));
  element("preview").parentElement?.style.setProperty("aspect-ratio", `${now.width} / ${now.height}`);
  show();
  draw(null);
}

/** @param {string} label @param {string} name @param {() => Promise<unknown>} work */
function button(label, name, work) {
  const made = Object.assign(document.createElement("button"), { type: "button", textContent: text(label) });
  made.setAttribute("aria-label", `${text(label)}: ${name}`);
  made.addEventListener("click", () => work().then(refresh).catch(say));
  return made;
}

/** @param {any} each */
function line(each) {
  const item = document.createElement("li");
  item.dataset.id = each.id;
  item.classList.toggle("chosen", each.id === chosen);
  const image = Object.assign(document.createElement("img"), { src: `/files/job/${each.id}/thumbnail.jpg`, alt: "" });
  const what = document.createElement("div");
  what.className = "what";
  const name = Object.assign(document.createElement("strong"), { textContent: each.name });
  const progress = each.progress ?? {};
  const percent = progress.total_frames ? Math.round((100 * progress.frames) / progress.total_frames) : null;
  const left = progress.remaining ? `, ${Math.round(progress.remaining)} s ${text("left")}` : "";
  const status = each.state === "running" ? `${text("running")}${percent === null ? "" : ` ${percent} %`}${left}` : text(each.state);
  const stateLine = Object.assign(document.createElement("p"), { className: "state", textContent: `${each.width}x${each.height}, ${status}` });
  what.append(name, stateLine);
  if (each.state === "running") {
    const bar = Object.assign(document.createElement("progress"), { max: 100 });
    bar.setAttribute("aria-label", each.name);
    if (percent !== null) bar.value = percent;
    what.append(bar);
  }
  if (each.error) what.append(Object.assign(document.createElement("p"), { className: "error", textContent: each.error }));
  const row = Object.assign(document.createElement("div"), { className: "row" });
  const act = (/** @type {string} */ action, more = {}) => () => post("job", { id: each.id, action, ...more });
  row.append(button("show", each.name, async () => choose(each.id)));
  if (["waiting", "running"].includes(each.state)) row.append(button("cancel", each.name, act("cancel")));
  else row.append(button("run", each.name, () => { if (each.id !== chosen) choose(each.id); return act("start", { settings: wanted(), suffix: suffix.value })(); }));
  if (each.result) {
    const address = `/files/job/${each.id}/result?v=${each.size}`;
    row.append(Object.assign(document.createElement("a"), { href: `${address}&download`, download: each.result, textContent: `${text("download")} (${(each.size / 1e6).toFixed(1)} MB)` }));
  }
  row.append(button("remove", each.name, act("remove")));
  what.append(row);
  item.append(image, what);
  if (each.result && each.state === "done") {
    const address = `/files/job/${each.id}/result?v=${each.size}`;
    const moving = each.kind === "video" && !each.result.endsWith(".gif");
    const shown = moving
      ? Object.assign(document.createElement("video"), { src: address, controls: true, preload: "metadata" })
      : Object.assign(document.createElement("img"), { src: address, className: "shown", alt: each.result });
    shown.setAttribute("aria-label", each.result);
    item.append(shown);
  }
  return item;
}

/** Lines that have not changed stay, so that a video goes on playing and a focus is kept. */
const kept = /** @type {Map<string, string>} */ (new Map());
function show() {
  if (!state) return;
  const list = element("jobs");
  const ids = state.jobs.map((/** @type {any} */ each) => each.id);
  for (const old of [...list.children]) if (!ids.includes(/** @type {HTMLElement} */ (old).dataset.id)) old.remove();
  for (const each of state.jobs) {
    const form = JSON.stringify([each, each.id === chosen, document.documentElement.lang]);
    const old = /** @type {HTMLElement | undefined} */ ([...list.children].find((item) => /** @type {HTMLElement} */ (item).dataset.id === each.id));
    if (old && kept.get(each.id) === form) continue;
    kept.set(each.id, form);
    const focused = old?.contains(document.activeElement) ? [...old.querySelectorAll("button, a")].indexOf(/** @type {Element} */ (document.activeElement)) : -1;
    const made = line(each);
    if (old) old.replaceWith(made);
    else list.append(made);
    if (focused >= 0) /** @type {HTMLElement | undefined} */ ([...made.querySelectorAll("button, a")][focused])?.focus();
  }
  element("none").hidden = state.jobs.length > 0;
  const before = background.value || settings.background || "blur";
  const names = [...state.backgrounds.map((/** @type {any} */ each) => each.name), "transparent"];
  if ([...background.options].map((option) => option.value).join() !== names.join()) {
    background.replaceChildren(...names.map((name) => new Option(name === "transparent" ? text(name) : name, name)));
    background.value = names.includes(String(before)) ? String(before) : names[0];
  }
  for (const [name, each] of shows) each(settings[name] ?? defaults.get(name));
}

async function refresh() {
  try {
    state = await get("/api/state");
    show();
  } catch (error) {
    say(error);
  }
}

/** @param {File[]} files */
async function add(files) {
  for (const file of files) {
    try {
      const made = await send("/files/job", file, (share) => {
        element("notice").textContent = `${text("uploading")}: ${file.name} ${Math.round(100 * share)} %`;
      });
      say("");
      await refresh();
      choose(made.id);
    } catch (error) {
      element("notice").textContent = "";
      say(error);
    }
  }
}

/** @type {Map<string, unknown>} */ const defaults = new Map();

async function main() {
  await openSession();
  await refresh();
  if (!state) return;
  const { jobs } = await get("/api/options");
  for (const entry of jobs) {
    if (entry.name === "choose") continue;
    defaults.set(entry.name, entry.default);
    const made = control(entry, (value) => { settings = { ...settings, [entry.name]: value }; drawSoon(); });
    shows.set(entry.name, made.show);
    element("controls").append(made.row);
  }
  background.addEventListener("change", drawSoon);
  at.addEventListener("input", drawSoon);
  const field = /** @type {HTMLInputElement} */ (element("file"));
  field.addEventListener("change", () => { add([...(field.files ?? [])]); field.value = ""; });
  dropping(element("drop"), add);
  translate(show);
  if (job()) choose(chosen);
  setInterval(refresh, 1000);
}

main().catch(say);
