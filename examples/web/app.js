// The page: camera in, composite out. Video frames stay in canvases, which browsers keep on the GPU; only what the network
// sees, a small image, is read back.
// @ts-check
import { Network, Pace, SIZES, inputSize } from "./network.js";

/** @template {HTMLElement} T @param {string} id @returns {T} */
const element = (id) => /** @type {T} */ (document.getElementById(id));
/** @type {HTMLCanvasElement} */
const output = element("output");
const context = /** @type {CanvasRenderingContext2D} */ (output.getContext("2d", { alpha: false }));
const video = document.createElement("video");
video.muted = true;
video.playsInline = true;

const seen = new OffscreenCanvas(1, 1);
const small = /** @type {OffscreenCanvasRenderingContext2D} */ (seen.getContext("2d", { willReadFrequently: true }));
const mask = new OffscreenCanvas(1, 1);
const maskContext = /** @type {OffscreenCanvasRenderingContext2D} */ (mask.getContext("2d"));
const person = new OffscreenCanvas(1, 1);
const personContext = /** @type {OffscreenCanvasRenderingContext2D} */ (person.getContext("2d"));

/** The page's status line. */
const state = { backend: "", size: "", fps: 0, ms: 0, frames: 0, chosen: "", error: "" };
Object.assign(window, { streammatte: { state, Network, inputSize } });

/** @type {Network | null} */
let network = null;
/** @type {ImageBitmap | null} */
let behind = null;
const pace = new Pace();
/** @type {Float32Array | null} */
let held = null;

for (const size of SIZES) element("size").append(new Option(String(size), String(size)));

/** @param {string} text */
function say(text) {
  element("state").textContent = text;
}

/** The background at the output's size; the whole room is blurred until there is a matte. */
function drawBackground() {
  const { width, height } = output;
  const kind = /** @type {HTMLSelectElement} */ (element("background")).value;
  if (kind === "image" && behind) {
    const scale = Math.max(width / behind.width, height / behind.height);
    const w = behind.width * scale;
    const h = behind.height * scale;
    context.drawImage(behind, (width - w) / 2, (height - h) / 2, w, h);
  } else if (kind === "colour" && network) {
    context.fillStyle = /** @type {HTMLInputElement} */ (element("colour")).value;
    context.fillRect(0, 0, width, height);
  } else {
    const edge = width / 20; // beyond the output, so that no border shows
    context.filter = `blur(${width / 40}px)`;
    context.drawImage(video, -edge, -edge, width + 2 * edge, height + 2 * edge);
    context.filter = "none";
  }
}

/** @param {{width: number, height: number, data: Float32Array}} alpha */
function drawPerson(alpha) {
  const image = new ImageData(alpha.width, alpha.height);
  const before = held?.length === alpha.data.length ? held : null;
  for (let i = 0; i < alpha.data.length; i += 1) {
    let value = alpha.data[i];
    // Small changes are noise and are halved; large ones are motion and are taken as they are.
    if (before && Math.abs(value - before[i]) < 0.1) value = (value + before[i]) / 2;
    alpha.data[i] = value;
    image.data[4 * i + 3] = Math.round(255 * Math.min(1, Math.max(0, value)));
  }
  held = Float32Array.from(alpha.data);
  mask.width = alpha.width;
  mask.height = alpha.height;
  maskContext.putImageData(image, 0, 0);
  person.width = output.width;
  person.height = output.height;
  personContext.drawImage(video, 0, 0, output.width, output.height);
  personContext.globalCompositeOperation = "destination-in";
  personContext.imageSmoothingQuality = "high";
  personContext.drawImage(mask, 0, 0, output.width, output.height);
  personContext.globalCompositeOperation = "source-over";
}

function show() {
  element("figures").textContent =
    `${state.fps.toFixed(1)} frames/s, network ${state.ms.toFixed(0)} ms at ${state.size}, ${state.backend}\n${state.chosen}`;
}

let lastSecond = performance.now();
let counted = 0;

/** One frame: matte, background, person. */
async function frame() {
  const begin = performance.now();
  if (output.width !== video.videoWidth || output.height !== video.videoHeight) {
    output.width = video.videoWidth;
    output.height = video.videoHeight;
    held = null;
  }
  if (network) {
    const fixed = /** @type {HTMLSelectElement} */ (element("size")).value;
    const size = inputSize(output.width, output.height, fixed === "auto" ? pace.size : Number(fixed));
    seen.width = size.width;
    seen.height = size.height;
    small.drawImage(video, 0, 0, size.width, size.height);
    const alpha = await network.matte(small.getImageData(0, 0, size.width, size.height));
    drawPerson(alpha);
    state.size = `${size.width}x${size.height}`;
  }
  drawBackground();
  if (network) context.drawImage(person, 0, 0);
  const now = performance.now();
  state.ms = now - begin;
  state.frames += 1;
  counted += 1;
  if (network && pace.took(state.ms, now)) state.chosen = `size changed to ${pace.size} to hold 30 frames/s`;
  if (now - lastSecond > 1000) {
    state.fps = (1000 * counted) / (now - lastSecond);
    lastSecond = now;
    counted = 0;
    show();
  }
}

/** Frame after frame, as the camera gives them. */
async function run() {
  for (;;) {
    await new Promise((resolve) =>
      "requestVideoFrameCallback" in video ? video.requestVideoFrameCallback(resolve) : requestAnimationFrame(resolve),
    );
    await frame();
  }
}

/** @param {unknown} error */
function fail(error) {
  state.error = String(error);
  say(state.error);
}

async function start() {
  /** @type {HTMLButtonElement} */ (element("start")).disabled = true;
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({
      video: { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } },
    });
    await video.play();
  } catch (error) {
    /** @type {HTMLButtonElement} */ (element("start")).disabled = false;
    return fail(`the camera cannot be used: ${error}`);
  }
  run().catch(fail); // blurred, until the network is here
  say("The network is loading; the room is blurred meanwhile.");
  try {
    const loaded = await Network.load(".");
    const probe = 256;
    const ms = await loaded.measure(inputSize(video.videoWidth, video.videoHeight, probe));
    pace.begin(probe, ms);
    state.backend = loaded.backend;
    state.chosen = `${loaded.backend}: ${ms.toFixed(0)} ms at ${probe}, so it begins at ${pace.size}`;
    network = loaded;
    say("Running. Nothing leaves this machine.");
  } catch (error) {
    fail(error);
  }
  return undefined;
}

element("start").addEventListener("click", start);
element("file").addEventListener("change", async () => {
  const [file] = /** @type {HTMLInputElement} */ (element("file")).files ?? [];
  if (!file) return;
  try {
    behind = await createImageBitmap(file);
    /** @type {HTMLSelectElement} */ (element("background")).value = "image";
  } catch {
    say(`${file.name} is no image that this browser reads.`);
  }
});
