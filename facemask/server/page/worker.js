// Runs the model in the browser, beside the page: an image that comes in here goes nowhere else.

import * as ort from "./ort/ort.wasm.min.mjs";

const MOST_THREADS = 4; // more do not make this model faster

let session;

addEventListener("message", async ({ data }) => {
  try {
    const answer = data.model ? await load(data) : await predict(data);
    postMessage({ id: data.id, ...answer });
  } catch (error) {
    postMessage({ id: data.id, error: String(error?.message ?? error) });
  }
});

async function load({ model, bytes }) {
  ort.env.logLevel = "error";
  ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
  // Only an isolated page has memory that threads can share.
  ort.env.wasm.numThreads = self.crossOriginIsolated
    ? Math.min(MOST_THREADS, navigator.hardwareConcurrency || 1)
    : 1;
  const weights = await fetched(model, bytes);
  session = await ort.InferenceSession.create(weights, { executionProviders: ["wasm"] });
  return {};
}

/** Fetch a file and say how much of it has arrived. */
async function fetched(url, bytes) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`the model does not arrive (${response.status})`);
  const data = new Uint8Array(bytes);
  const reader = response.body.getReader();
  let loaded = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    data.set(value, loaded);
    loaded += value.length;
    postMessage({ loaded, total: bytes });
  }
  if (loaded !== bytes) throw new Error("the model did not arrive as a whole");
  return data;
}

/** Find the faces of a bitmap: boxes in px of it, confidences, numbers of classes. */
async function predict({ bitmap, size }) {
  const start = performance.now();
  const { width, height } = bitmap;
  const image = near(rgb(bitmap), width, height, size);
  const outputs = await session.run({
    image: new ort.Tensor("uint8", image.pixels, [image.height, image.width, 3]),
    size: new ort.Tensor("int64", BigInt64Array.of(BigInt(size)), []),
  });
  const scale = [width / image.width, height / image.height];
  const found = {
    boxes: Float32Array.from(outputs.boxes.data, (value, at) => value * scale[at % 2]),
    confidence: Float32Array.from(outputs.confidence.data),
    classes: Array.from(outputs.class_id.data, Number),
  };
  Object.values(outputs).forEach((output) => output.dispose());
  return { ...found, width, height, milliseconds: performance.now() - start };
}

function rgb(bitmap) {
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { data } = context.getImageData(0, 0, width, height);
  const pixels = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; from < data.length; from += 4, to += 3) {
    pixels[to] = data[from];
    pixels[to + 1] = data[from + 1];
    pixels[to + 2] = data[from + 2];
  }
  return pixels;
}

/**
 * Average whole pixels of a far larger image, so that the network need not copy all of them: as
 * `_near` of facemask/inference/detect.py.
 */
function near(pixels, width, height, size) {
  const factor = Math.floor(Math.max(width, height) / (2 * size));
  if (factor < 2) return { pixels, width, height };
  const small = {
    width: Math.max(1, Math.floor(width / factor)),
    height: Math.max(1, Math.floor(height / factor)),
  };
  const columns = shares(width, small.width);
  const rows = shares(height, small.height);
  small.pixels = new Uint8Array(small.width * small.height * 3);
  const sums = new Float64Array(small.width * 3);
  for (let y = 0; y < small.height; y += 1) {
    sums.fill(0);
    for (const [row, part] of rows[y]) addRow(sums, pixels, row * width * 3, columns, part);
    for (let at = 0; at < sums.length; at += 1) {
      small.pixels[y * sums.length + at] = Math.round(sums[at]);
    }
  }
  return small;
}

function addRow(sums, pixels, start, columns, part) {
  for (let x = 0; x < columns.length; x += 1) {
    for (const [column, share] of columns[x]) {
      const from = start + column * 3;
      for (let channel = 0; channel < 3; channel += 1) {
        sums[x * 3 + channel] += pixels[from + channel] * share * part;
      }
    }
  }
}

/** For each of `to` parts of a side of `from` px: the pixels it covers, and their shares of it. */
function shares(from, to) {
  const step = from / to;
  return Array.from({ length: to }, (_, part) => {
    const [begin, end] = [part * step, Math.min(from, (part + 1) * step)];
    const covered = [];
    for (let pixel = Math.floor(begin); pixel < end; pixel += 1) {
      const share = (Math.min(end, pixel + 1) - Math.max(begin, pixel)) / step;
      if (share > 1e-9) covered.push([pixel, share]);
    }
    return covered;
  });
}
