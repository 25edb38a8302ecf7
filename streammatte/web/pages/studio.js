// The live page: a camera in, the composite back, by WebRTC; everything can be touched.
// @ts-check
import { control, dropping, element, get, latest, openSession, post, say, send } from "./common.js";
import { text, translate } from "./texts.js";

const RETRY = 1000;
const GATHER = 2000;
const FALL_BACK = 8000;

/** @type {HTMLVideoElement} */ const result = element("result");
/** @type {HTMLVideoElement} */ const own = element("own");
/** @type {HTMLImageElement} */ const fallback = element("fallback");
/** @type {HTMLSelectElement} */ const cameras = element("camera");
/** @type {HTMLButtonElement} */ const startButton = element("start");

/** @type {any} */ let state = null;
/** @type {RTCPeerConnection | null} */ let peer = null;
/** @type {MediaStream | null} */ let stream = null;
let running = false;
let picking = false;
/** The page's status line. */
const figures = { connected: "", latency: 0, connections: 0 };
Object.assign(window, { studio: { figures } });

/** @param {string} key */
const notice = (key) => { element("notice").textContent = key ? text(key) : ""; };

// ---- the connection ----

/** @param {RTCPeerConnection} connection */
async function gathered(connection) {
  if (connection.iceGatheringState === "complete") return;
  await new Promise((resolve) => {
    const timer = setTimeout(resolve, GATHER);
    connection.addEventListener("icegatheringstatechange", () => {
      if (connection.iceGatheringState === "complete") { clearTimeout(timer); resolve(undefined); }
    });
  });
}

async function openCamera() {
  const [width, height] = /** @type {HTMLSelectElement} */ (element("size")).value.split("x").map(Number);
  const wanted = { width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: 30 } };
  const device = cameras.value.startsWith("browser:") ? { deviceId: { exact: cameras.value.slice(8) } } : {};
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { ...wanted, ...device } });
  } catch (error) {
    throw new Error(text("noCamera") + (error instanceof Error ? error.message : String(error)));
  }
  own.srcObject = stream;
  await fillCameras();
  return stream.getVideoTracks()[0];
}

function closeCamera() {
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = null;
  own.srcObject = null;
}

async function connect() {
  peer?.close();
  const connection = new RTCPeerConnection();
  peer = connection;
  figures.connections += 1;
  const track = stream?.getVideoTracks()[0];
  if (track) {
    const sender = connection.addTrack(track, /** @type {MediaStream} */ (stream));
    track.contentHint = "motion";
    const parameters = sender.getParameters();
    // A smaller image would be enlarged again: fewer frames are better for a moment.
    Object.assign(parameters, { degradationPreference: "maintain-resolution" });
    await sender.setParameters(parameters).catch(() => undefined);
  } else {
    connection.addTransceiver("video", { direction: "recvonly" });
  }
  connection.ontrack = (event) => {
    const receiver = /** @type {any} */ (event.receiver);
    receiver.jitterBufferTarget = 0; // what arrives is shown
    receiver.playoutDelayHint = 0;
    result.srcObject = new MediaStream([event.track]);
    result.play().catch(() => undefined);
  };
  connection.onconnectionstatechange = () => {
    if (peer !== connection) return;
    figures.connected = connection.connectionState;
    if (connection.connectionState === "connected") { notice(""); fallback.hidden = true; fallback.removeAttribute("src"); }
    if (["failed", "disconnected"].includes(connection.connectionState)) again();
  };
  await connection.setLocalDescription(await connection.createOffer());
  await gathered(connection);
  const answer = await post("offer", { sdp: connection.localDescription?.sdp });
  if (peer !== connection) return;
  await connection.setRemoteDescription(answer);
  setTimeout(() => {
    if (peer === connection && running && connection.connectionState !== "connected") {
      fallback.src = "/stream.mjpg"; // a machine without a network, for instance
      fallback.hidden = false;
      notice("");
    }
  }, FALL_BACK);
}

function again() {
  if (!running) return;
  notice("lost");
  setTimeout(() => { if (running) connect().catch((error) => { say(error); again(); }); }, RETRY);
}

async function start() {
  say("");
  notice("starting");
  startButton.disabled = true;
  try {
    closeCamera();
    const fromBrowser = cameras.value.startsWith("browser");
    const [width, height] = /** @type {HTMLSelectElement} */ (element("size")).value.split("x").map(Number);
    const wish = { camera: fromBrowser ? "browser" : cameras.value, width, height, rate: 30 };
    if (fromBrowser) {
      const settings = (await openCamera()).getSettings();
      Object.assign(wish, { width: settings.width ?? width, height: settings.height ?? height });
    }
    await post("start", wish);
    running = true;
    sessionStorage.setItem("camera", cameras.value);
    for (;;) {
      await refresh();
      if (state.error) throw new Error(state.error);
      if (state.session) break;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    notice("connecting");
    await connect();
  } catch (error) {
    say(error);
    await stop();
  } finally {
    startButton.disabled = false;
  }
}

async function stop() {
  running = false;
  sessionStorage.removeItem("camera");
  peer?.close();
  peer = null;
  figures.connected = "";
  closeCamera();
  result.srcObject = null;
  fallback.hidden = true;
  fallback.removeAttribute("src");
  notice("welcome");
  await post("stop", {}).catch(say);
  await refresh();
}

// ---- the controls ----

/** @type {Map<string, (value: any) => void>} */ const shows = new Map();
const change = latest(async (patch) => {
  try {
    const { settings } = await post("set", patch);
    Object.assign(state.settings, settings, { background: state.settings.background });
    say("");
  } catch (error) {
    say(error);
  }
});
/** @type {Record<string, unknown>} */ let waiting = {};

/** @param {string} name @param {unknown} value */
function set(name, value) {
  waiting = { ...waiting, [name]: value };
  queueMicrotask(() => { if (Object.keys(waiting).length) { const patch = waiting; waiting = {}; change(patch); } });
  state.settings[name] = value;
  show();
}

const ORDER = ["blur", "blur_strength", "framing", "smooth", "mirror", "flip", "rotate", "freeze", "edge", "feather", "gamma", "black_point",
  "white_point", "min_area", "fill_holes", "largest_person", "despill", "match_light"];

async function makeControls() {
  const { live } = await get("/api/options");
  /** @type {import("./common.js").Declared[]} */ const known = live;
  const plain = (/** @type {string} */ name) => ({ name, kind: "bool", default: false, choices: [], low: null, high: null, help: "" });
  for (const name of ORDER) {
    const entry = known.find((each) => each.name === name) ?? plain(name);
    const made = control(entry, (value) => set(name, value));
    shows.set(name, made.show);
    element("controls").append(made.row);
  }
  const row = document.createElement("div");
  row.className = "row";
  const pick = Object.assign(document.createElement("button"), { type: "button", id: "choose", textContent: text("choose") });
  pick.addEventListener("click", () => {
    if (state?.settings.choose) return set("choose", null);
    picking = !picking;
    show();
  });
  row.append(pick);
  element("controls").append(row);
}

/** @param {{name: string, kind: string}} entry */
function backgroundButton(entry) {
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("role", "radio");
  button.title = entry.name;
  button.dataset.name = entry.name;
  if (entry.kind === "image" || entry.kind === "video") {
    const image = document.createElement("img");
    image.alt = "";
    image.src = `/files/background/${encodeURIComponent(entry.name)}`;
    button.append(image);
  } else {
    const canvas = Object.assign(document.createElement("canvas"), { width: 80, height: 50 });
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    if (entry.kind === "color") {
      context.fillStyle = entry.name;
      context.fillRect(0, 0, 80, 50);
    } else {
      context.filter = "blur(6px)";
      for (const [x, color] of /** @type {[number, string][]} */ ([[5, "#7a8fa6"], [30, "#c9a27c"], [55, "#5f7d62"]])) {
        context.fillStyle = color;
        context.fillRect(x, 5, 24, 40);
      }
    }
    button.append(canvas);
  }
  const name = document.createElement("span");
  name.textContent = entry.name.split("/").pop() ?? entry.name;
  button.append(name);
  button.addEventListener("click", () => { set("blur", false); set("background", entry.name); });
  return button;
}

function arrowKeys() {
  const group = element("backgrounds");
  group.addEventListener("keydown", (event) => {
    const buttons = [...group.querySelectorAll("button")];
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = buttons.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
    const next = buttons[(at + step + buttons.length) % buttons.length];
    next.focus();
    next.click();
  });
}

/** @param {File[]} files */
async function addFiles(files) {
  for (const file of files) {
    if (!/^(image|video)\//.test(file.type)) continue;
    try {
      element("notice").textContent = `${text("uploading")}: ${file.name}`;
      const made = await send("/files/background", file);
      await refresh();
      set("blur", false);
      set("background", made.name);
    } catch (error) {
      say(error);
    }
  }
  notice(running ? "" : "welcome");
}

/** @param {string} name @param {object} [more] */
async function toggle(name, more = {}) {
  try {
    say("");
    await post("output", { name, on: !(name in (state?.session?.outputs ?? {})), ...more });
  } catch (error) {
    say(error);
  }
  await refresh();
}

// ---- showing the state ----

/** @param {string} id @param {boolean} on */
const pressed = (id, on) => element(id).setAttribute("aria-pressed", String(on));
let listed = "";

function show() {
  if (!state) return;
  const { session, settings } = state;
  const live = Boolean(session) && running;
  startButton.textContent = text(live ? "stop" : "start");
  startButton.dataset.text = live ? "stop" : "start";
  for (const id of ["hold", "snapshot", "record", "virtual", "streamButton"]) /** @type {HTMLButtonElement} */ (element(id)).disabled = !live;
  const names = JSON.stringify(state.backgrounds);
  if (names !== listed) {
    listed = names;
    element("backgrounds").replaceChildren(...state.backgrounds.map(backgroundButton));
  }
  for (const button of element("backgrounds").querySelectorAll("button")) {
    const chosen = !settings.blur && button.dataset.name === settings.background;
    button.setAttribute("aria-checked", String(chosen));
    button.tabIndex = chosen || button === element("backgrounds").firstChild ? 0 : -1;
  }
  for (const [name, each] of shows) each(settings[name]);
  pressed("hold", settings.hold);
  pressed("record", Boolean(session?.outputs.record));
  pressed("virtual", Boolean(session?.outputs["virtual-camera"]));
  pressed("streamButton", Boolean(session?.outputs.stream));
  own.classList.toggle("mirrored", settings.mirror);
  const split = /** @type {HTMLInputElement} */ (element("split"));
  split.disabled = !stream;
  own.style.clipPath = `inset(0 ${100 - Number(split.value)}% 0 0)`;
  if (session) element("frame").style.aspectRatio = `${session.width} / ${session.height}`;
  const choose = document.getElementById("choose");
  if (choose) { choose.textContent = text(settings.choose ? "everyone" : "choose"); choose.setAttribute("aria-pressed", String(picking)); }
  element("pick").hidden = !(picking && live);
  element("command").textContent = state.command;
  showPresets();
  showRecordings();
}

function showPresets() {
  const items = state.presets.map((/** @type {string} */ name) => {
    const item = document.createElement("li");
    const label = Object.assign(document.createElement("span"), { textContent: name });
    const apply = Object.assign(document.createElement("button"), { type: "button", textContent: text("apply") });
    apply.setAttribute("aria-label", `${text("apply")}: ${name}`);
    apply.addEventListener("click", () => post("preset", { action: "apply", name }).then(refresh).catch(say));
    item.append(label, apply);
    if (state.own_presets.includes(name)) {
      const link = Object.assign(document.createElement("a"), { href: `/files/preset/${encodeURIComponent(name)}.yml`, textContent: text("export"), download: `${name}.yml` });
      const remove = Object.assign(document.createElement("button"), { type: "button", textContent: text("remove") });
      remove.setAttribute("aria-label", `${text("remove")}: ${name}`);
      remove.addEventListener("click", () => post("preset", { action: "delete", name }).then(refresh).catch(say));
      item.append(link, remove);
    }
    return item;
  });
  if (element("presets").contains(document.activeElement)) return;
  element("presets").replaceChildren(...items);
}

function showRecordings() {
  if (element("recordings").contains(document.activeElement)) return;
  element("recordings").replaceChildren(...state.recordings.slice(0, 5).map((/** @type {string} */ name) =>
    Object.assign(document.createElement("a"), { href: `/files/recording/${encodeURIComponent(name)}`, textContent: name, download: name })));
}

async function refresh() {
  try {
    const given = await get("/api/state");
    if (state && Object.keys(waiting).length) given.settings = state.settings;
    state = given;
    if (running && !state.session && !state.starting && peer) {
      say(state.error || "");
      running = false;
      peer.close();
      peer = null;
      closeCamera();
      notice("welcome");
    }
    show();
  } catch (error) {
    say(error);
  }
}

let before = { delay: 0, count: 0, decode: 0 };

/** Milliseconds that the browser itself adds: on the way, waiting, decoding. */
async function ownLatency() {
  if (!peer) return 0;
  let found = 0;
  for (const report of (await peer.getStats()).values()) {
    if (report.type === "candidate-pair" && report.nominated) found += (report.currentRoundTripTime ?? 0) * 1000;
    if (report.type === "inbound-rtp" && report.kind === "video") {
      const now = { delay: report.jitterBufferDelay ?? 0, count: report.jitterBufferEmittedCount ?? 0, decode: report.totalDecodeTime ?? 0 };
      const frames = Math.max(1, now.count - before.count);
      found += (1000 * (now.delay - before.delay + now.decode - before.decode)) / frames;
      before = now;
    }
  }
  return found;
}

async function hud() {
  const session = state?.session;
  if (!session) return element("hud").replaceChildren();
  const added = await ownLatency();
  figures.latency = session.recent_ms.p95 + added;
  const late = `${Math.round(session.recent_ms.p50 + added)} / ${Math.round(figures.latency)} ${text("ms")}`;
  const shown = [["state", session.state], ["fps", session.fps.toFixed(1)], ["latency", late], ["drops", session.drops],
    ["network", session.size], ["cpu", session.cpu.toFixed(2)]];
  element("hud").replaceChildren(...shown.map(([key, value]) => {
    const pair = document.createElement("div");
    pair.append(Object.assign(document.createElement("dt"), { textContent: text(key) }), Object.assign(document.createElement("dd"), { textContent: String(value) }));
    return pair;
  }));
}

async function fillCameras() {
  const before = cameras.value;
  const found = (await navigator.mediaDevices?.enumerateDevices?.().catch(() => [])) ?? [];
  const options = [new Option(text("browserCamera"), "browser")];
  for (const device of found) {
    if (device.kind === "videoinput" && device.label) options.push(new Option(device.label, `browser:${device.deviceId}`));
  }
  options.push(new Option(`${text("machineCamera")} (${state?.camera ?? "0"})`, state?.camera ?? "0"));
  cameras.replaceChildren(...options);
  if ([...cameras.options].some((option) => option.value === before)) cameras.value = before;
}

function wire() {
  startButton.addEventListener("click", () => (running ? stop() : start()));
  element("hold").addEventListener("click", () => set("hold", !state.settings.hold));
  element("snapshot").addEventListener("click", () => {
    Object.assign(document.createElement("a"), { href: "/files/snapshot.png", download: "" }).click();
  });
  element("record").addEventListener("click", () => toggle("record"));
  element("virtual").addEventListener("click", () => toggle("virtual-camera"));
  element("streamForm").addEventListener("submit", (event) => {
    event.preventDefault();
    toggle("stream", { url: /** @type {HTMLInputElement} */ (element("url")).value });
  });
  element("presetForm").addEventListener("submit", (event) => {
    event.preventDefault();
    const field = /** @type {HTMLInputElement} */ (element("presetName"));
    post("preset", { action: "save", name: field.value }).then(() => { field.value = ""; say(""); return refresh(); }).catch(say);
  });
  for (const id of ["file", "folder"]) {
    const field = /** @type {HTMLInputElement} */ (element(id));
    field.addEventListener("change", () => { addFiles([...(field.files ?? [])]); field.value = ""; });
  }
  const color = /** @type {HTMLInputElement} */ (element("color"));
  color.addEventListener("change", async () => {
    try {
      await post("background", { add: color.value });
      await refresh();
      set("blur", false);
      set("background", color.value);
    } catch (error) { say(error); }
  });
  element("split").addEventListener("input", show);
  element("pick").addEventListener("click", (event) => {
    const box = element("pick").getBoundingClientRect();
    const { width, height } = state.session;
    // The image is centred in the frame, as large as fits.
    const scale = Math.min(box.width / width, box.height / height);
    let x = (event.clientX - box.left - (box.width - width * scale) / 2) / scale;
    const y = (event.clientY - box.top - (box.height - height * scale) / 2) / scale;
    if (state.settings.mirror) x = width - x;
    picking = false;
    if (x >= 0 && y >= 0 && x < width && y < height) set("choose", [Math.floor(x), Math.floor(y)]);
    show();
  });
  dropping(document.body, addFiles);
  arrowKeys();
}

async function main() {
  await openSession();
  wire();
  await refresh();
  if (!state) return;
  await makeControls();
  await fillCameras();
  translate(() => { show(); fillCameras(); });
  if (state.session) {
    // A reload, or a second tab: go on with what runs.
    running = true;
    const mine = sessionStorage.getItem("camera");
    if (mine?.startsWith("browser") && state.session.camera === "browser") {
      cameras.value = mine;
      await openCamera().catch(say);
    }
    await connect().catch(say);
  }
  show();
  setInterval(async () => { await refresh(); await hud(); }, 1000);
}

main().catch(say);
