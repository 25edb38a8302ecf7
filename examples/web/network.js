// The embedded network in the browser: which back end runs it, at which size, and its matte of an image.
// @ts-check

/** Long sides that the network may see, the best first. */
export const SIZES = [512, 448, 384, 320, 256, 192];
/** Names of the network's open dimensions: images, rows, columns. */
const DIMENSIONS = ["DynamicDimension.0", "DynamicDimension.1", "DynamicDimension.2"];
/** Milliseconds a frame may take for 30 frames a second. */
const FRAME = 1000 / 30;

/**
 * Sides of the network's input for an image: multiples of 32, close to its aspect.
 * @param {number} width @param {number} height @param {number} long
 * @returns {{width: number, height: number}}
 */
export function inputSize(width, height, long) {
  const scale = long / Math.max(width, height);
  const side = (/** @type {number} */ length) => Math.max(64, 32 * Math.round((length * scale) / 32));
  return { width: side(width), height: side(height) };
}

/** Chooses the size by how long frames take: down at once where it is too slow, up after two quick seconds. */
export class Pace {
  /** @param {readonly number[]} sizes */
  constructor(sizes = SIZES) {
    this.sizes = sizes;
    this.place = sizes.length - 1;
    this.mean = 0;
    this.since = 0;
  }

  get size() {
    return this.sizes[this.place];
  }

  /**
   * Begin with the largest size that should hold the rate, from the time of one size.
   * @param {number} size @param {number} ms
   */
  begin(size, ms) {
    const fits = this.sizes.findIndex((each) => ms * (each / size) ** 2 < 0.8 * FRAME);
    this.place = fits < 0 ? this.sizes.length - 1 : fits;
    this.mean = 0;
  }

  /**
   * A frame took so long. Tells whether the size has changed.
   * @param {number} ms @param {number} now
   */
  took(ms, now) {
    this.mean = this.mean ? 0.9 * this.mean + 0.1 * ms : ms;
    const larger = this.sizes[this.place - 1];
    if (this.mean > FRAME && this.place < this.sizes.length - 1) {
      this.place += 1;
    } else if (larger && this.mean * (larger / this.size) ** 2 < 0.7 * FRAME) {
      this.since ||= now;
      if (now - this.since < 2000) return false;
      this.place -= 1;
    } else {
      this.since = 0;
      return false;
    }
    this.mean = 0;
    this.since = 0;
    return true;
  }
}

export class Network {
  /**
   * @param {any} ort
   * @param {(size: {width: number, height: number} | null) => Promise<any>} open a session, for one size or for all
   * @param {string} backend
   * @param {boolean} fixed a session serves one size only
   */
  constructor(ort, open, backend, fixed) {
    this.ort = ort;
    this.open = open;
    this.backend = backend;
    this.fixed = fixed;
    /** @type {Map<string, any>} the sessions in use, the last one last */
    this.sessions = new Map();
    /** @type {Float32Array} */
    this.planes = new Float32Array(0);
  }

  /**
   * Load the network: on WebGPU where the browser has it, else as WebAssembly with as many threads as there are cores
   * (which needs a page that is isolated from others, as serve.py sends it).
   * @param {string} folder where vendor/ and network.onnx are
   * @param {string[]} backends
   */
  static async load(folder, backends = ["webgpu", "wasm"]) {
    const gpu = /** @type {any} */ (navigator).gpu;
    const faults = [];
    for (const backend of backends) {
      if (backend === "webgpu" && !(gpu && (await gpu.requestAdapter().catch(() => null)))) continue;
      try {
        const ort = await import(`${folder}/vendor/ort.${backend}.min.mjs`);
        ort.env.wasm.wasmPaths = new URL(`${folder}/vendor/`, import.meta.url).href;
        const threads = self.crossOriginIsolated ? navigator.hardwareConcurrency || 1 : 1;
        ort.env.wasm.numThreads = threads;
        const answer = await fetch(new URL(`${folder}/network.onnx`, import.meta.url));
        if (!answer.ok) throw new Error(`network.onnx: ${answer.status}`);
        const bytes = new Uint8Array(await answer.arrayBuffer());
        // WebGPU has no kernels for the arithmetic of shapes: with the size given it is done once, while loading.
        const fixed = backend === "webgpu";
        const network = new Network(ort, (size) => ort.InferenceSession.create(bytes, {
          executionProviders: [backend],
          ...(size && { freeDimensionOverrides: Object.fromEntries(DIMENSIONS.map((name, at) => [name, [1, size.height, size.width][at]])) }),
        }), fixed ? "WebGPU" : `WebAssembly, ${threads} threads`, fixed);
        await network.session(fixed ? { width: 256, height: 160 } : null);
        return network;
      } catch (error) {
        faults.push(`${backend}: ${error}`);
      }
    }
    throw new Error(`the network cannot run here (${faults.join("; ") || "no back end"})`);
  }

  /**
   * The session for a size; the one before is kept, so that going back to it costs nothing.
   * @param {{width: number, height: number} | null} size
   */
  async session(size) {
    const key = this.fixed && size ? `${size.width}x${size.height}` : "all";
    const found = this.sessions.get(key) ?? (await this.open(this.fixed ? size : null));
    this.sessions.delete(key);
    this.sessions.set(key, found);
    if (this.sessions.size > 2) {
      const [[oldest, unused]] = this.sessions;
      this.sessions.delete(oldest);
      await unused.release();
    }
    return found;
  }

  /**
   * Alpha of an image whose sides are multiples of 32, at half of them.
   * @param {ImageData} image
   * @returns {Promise<{width: number, height: number, data: Float32Array}>}
   */
  async matte(image) {
    const { width, height, data } = image;
    const count = width * height;
    if (this.planes.length !== 3 * count) this.planes = new Float32Array(3 * count);
    const planes = this.planes;
    for (let i = 0, j = 0; i < count; i += 1, j += 4) {
      planes[i] = data[j] / 127.5 - 1;
      planes[i + count] = data[j + 1] / 127.5 - 1;
      planes[i + 2 * count] = data[j + 2] / 127.5 - 1;
    }
    const input = new this.ort.Tensor("float32", planes, [1, 3, height, width]);
    const session = await this.session({ width, height });
    const results = await session.run({ [session.inputNames[0]]: input });
    const output = results[session.outputNames[0]];
    const alpha = await output.getData();
    const [rows, columns] = output.dims.slice(-2);
    return { width: columns, height: rows, data: alpha };
  }

  /**
   * Milliseconds of one frame at a size, the quicker of two after a first run.
   * @param {{width: number, height: number}} size
   */
  async measure(size) {
    const image = new ImageData(size.width, size.height);
    await this.matte(image);
    let quickest = Infinity;
    for (let turn = 0; turn < 2; turn += 1) {
      const begin = performance.now();
      await this.matte(image);
      quickest = Math.min(quickest, performance.now() - begin);
    }
    return quickest;
  }
}
