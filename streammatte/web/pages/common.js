// What both pages share: requests, the state, controls made from the options' declarations.
// @ts-check
import { text } from "./texts.js";

/** @template {HTMLElement} T @param {string} id @returns {T} */
export const element = (id) => /** @type {T} */ (document.getElementById(id));

/** @param {unknown} error */
export function say(error) {
  element("error").textContent = error instanceof Error ? error.message : String(error ?? "");
}

/** @param {Response} answer */
async function read(answer) {
  const body = await answer.json().catch(() => ({ error: `${answer.status}` }));
  if (answer.status === 401) throw new Error(text("noToken"));
  if (!answer.ok) throw new Error(body.error ?? `${answer.status}`);
  return body;
}

/** @param {RequestInfo} path @param {RequestInit} [how] */
async function ask(path, how) {
  let answer;
  try {
    answer = await fetch(path, how);
  } catch {
    throw new Error(text("noServer"));
  }
  return read(answer);
}

/** @param {string} path */
export const get = (path) => ask(path);

/** @param {string} name @param {object} body */
export const post = (name, body) =>
  ask(`/api/${name}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

/**
 * Send a file; its name travels in the query.
 * @param {string} path @param {File} file @param {(share: number) => void} [progress]
 */
export function send(path, file, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", `${path}?name=${encodeURIComponent(file.name)}`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.onprogress = (event) => progress?.(event.loaded / Math.max(event.total, 1));
    request.onload = () => {
      let body;
      try { body = JSON.parse(request.responseText); } catch { body = {}; }
      if (request.status === 200) resolve(body);
      else reject(new Error(body.error ?? `${request.status}`));
    };
    request.onerror = () => reject(new Error(text("noServer")));
    request.send(file);
  });
}

/** Turn the key in the address into a cookie, once, and take it out of the address. */
export async function openSession() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!token) return;
  history.replaceState(null, "", location.pathname);
  await fetch("/session", { method: "POST", headers: { Authorization: `Bearer ${token}` } });
}

/**
 * @typedef {{name: string, kind: string, default: unknown, choices: string[], low: number | null, high: number | null, help: string}} Declared
 */

const SPANS = /** @type {Record<string, [number, number, number]>} */ ({
  feather: [0, 10, 0.5], gamma: [0.2, 3, 0.05], min_area: [0, 5, 0.01], fill_holes: [0, 5, 0.05], edge: [-5, 5, 0.5], blur_strength: [1, 100, 1],
});

/**
 * A labelled slider, list or box for a declared option.
 * @param {Declared} entry @param {(value: unknown) => void} changed
 * @returns {{row: HTMLElement, show: (value: unknown) => void}}
 */
export function control(entry, changed) {
  const row = document.createElement("label");
  row.className = "control";
  row.title = entry.help;
  const name = document.createElement("span");
  name.dataset.text = entry.name;
  name.textContent = text(entry.name);
  if (entry.kind === "bool") {
    const box = document.createElement("input");
    box.type = "checkbox";
    box.id = `set-${entry.name}`;
    box.addEventListener("change", () => changed(box.checked));
    row.classList.add("check");
    row.append(box, name);
    return { row, show: (value) => { box.checked = Boolean(value); } };
  }
  if (entry.kind === "choice") {
    const list = document.createElement("select");
    list.id = `set-${entry.name}`;
    for (const choice of entry.choices) {
      const option = new Option(text(choice), choice);
      option.dataset.text = choice;
      list.append(option);
    }
    list.addEventListener("change", () => changed(list.value));
    row.append(name, list);
    return { row, show: (value) => { list.value = String(value); } };
  }
  const [low, high, step] = SPANS[entry.name] ?? [entry.low ?? 0, entry.high ?? 1, ((entry.high ?? 1) - (entry.low ?? 0)) / 100];
  const slider = document.createElement("input");
  const shown = document.createElement("output");
  slider.type = "range";
  slider.id = `set-${entry.name}`;
  Object.assign(slider, { min: String(low), max: String(high), step: String(step) });
  const write = () => { shown.textContent = String(Number(Number(slider.value).toFixed(2))); };
  slider.addEventListener("input", () => { write(); changed(Number(slider.value)); });
  row.append(name, shown, slider);
  return {
    row,
    show: (value) => {
      if (document.activeElement === slider && slider.matches(":active")) return;
      slider.value = String(value);
      write();
    },
  };
}

/** Call with the newest value only, one request at a time. @param {(value: any) => Promise<unknown>} work */
export function latest(work) {
  /** @type {{value: any} | null} */
  let next = null;
  let busy = false;
  return async (/** @type {any} */ value) => {
    next = { value };
    if (busy) return;
    busy = true;
    try {
      while (next) {
        const { value: now } = next;
        next = null;
        await work(now);
      }
    } finally {
      busy = false;
    }
  };
}

/** Where files are dropped. @param {HTMLElement} place @param {(files: File[]) => void} take */
export function dropping(place, take) {
  place.addEventListener("dragover", (event) => { event.preventDefault(); place.classList.add("over"); });
  place.addEventListener("dragleave", () => place.classList.remove("over"));
  place.addEventListener("drop", (event) => {
    event.preventDefault();
    place.classList.remove("over");
    take([...(event.dataTransfer?.files ?? [])]);
  });
}
