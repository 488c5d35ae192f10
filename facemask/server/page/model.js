// Where predictions come from: the model in a worker of this page, or else the server.

import { LEAST } from "./faces.js";

const LOCAL = /^(localhost|.*\.localhost|127(\.\d+){3}|\[::1\])$/;

/** Whether the server runs on the machine that shows this page. */
export const serverIsHere = LOCAL.test(location.hostname);

/** An error whose message is for the user. */
export class Reason extends Error {}

/** Ask the server what it has; its model and limits. */
export async function health() {
  const response = await answered(fetch("health", { cache: "no-store" }));
  return response.json();
}

async function answered(request) {
  let response;
  try {
    response = await request;
  } catch {
    throw new Reason("The server does not answer. Start facemask serve again, then try again.");
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  throw new Reason(`The server refuses: ${body.error ?? response.status}.`);
}

/** Start the model in a worker; `progress` gets the share of it that has arrived. */
export async function inBrowser(about, progress) {
  if (!about.browser) throw new Error("the files of onnxruntime-web are not installed");
  if (!globalThis.WebAssembly || !globalThis.OffscreenCanvas) {
    throw new Error("this browser has no WebAssembly or OffscreenCanvas");
  }
  const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  const ask = asking(worker, progress);
  const { size, bytes } = about.model;
  try {
    await ask({ model: new URL(about.model.file, document.baseURI).href, bytes });
  } catch (error) {
    worker.terminate();
    throw error;
  }
  return {
    predict: async (source) => {
      const bitmap = await decoded(source);
      limit(bitmap, about.limits.pixels);
      const found = await ask({ bitmap, size }, [bitmap]);
      return { ...found, faces: faces(found, about.model.classes) };
    },
  };
}

/** A function that sends a message to the worker and waits for its answer. */
function asking(worker, progress) {
  const waiting = new Map();
  let count = 0;
  worker.addEventListener("message", ({ data }) => {
    if (data.total) {
      progress(data.loaded / data.total);
      return;
    }
    const { resolve, reject } = waiting.get(data.id);
    waiting.delete(data.id);
    if (data.error) reject(new Reason(`The model failed: ${data.error}.`));
    else resolve(data);
  });
  worker.addEventListener("error", (event) => {
    event.preventDefault();
    waiting.forEach(({ reject }) => reject(new Reason("The model stopped; reload the page.")));
    waiting.clear();
  });
  return (message, transfer = []) =>
    new Promise((resolve, reject) => {
      count += 1;
      waiting.set(count, { resolve, reject });
      worker.postMessage({ id: count, ...message }, transfer);
    });
}

/** A bitmap as the server decodes the image: turned by EXIF, without conversion of colours. */
async function decoded(source) {
  try {
    return await createImageBitmap(source, {
      imageOrientation: "from-image",
      colorSpaceConversion: "none",
    });
  } catch {
    throw new Reason("This browser cannot open the file as an image. Use a JPEG, PNG or WebP file.");
  }
}

function limit({ width, height }, pixels) {
  if (width * height > pixels) {
    const most = `${pixels / 1e6} million`;
    throw new Reason(`${width} × ${height} pixels are more than ${most}. Make it smaller.`);
  }
}

/** Faces as the server gives them. */
function faces({ boxes, confidence, classes }, names) {
  const found = [];
  confidence.forEach((value, at) => {
    const [x1, y1, x2, y2] = boxes.subarray(4 * at, 4 * at + 4);
    if (value < LEAST || x2 <= x1 || y2 <= y1) return;
    found.push({
      name: names[classes[at]],
      class: classes[at],
      confidence: rounded(value, 5),
      box: { x1: rounded(x1, 2), y1: rounded(y1, 2), x2: rounded(x2, 2), y2: rounded(y2, 2) },
    });
  });
  return found.sort((a, b) => b.confidence - a.confidence);
}

const rounded = (value, digits) => Number(value.toFixed(digits));

/** Predictions of the server; `consent` is awaited before an image goes to another machine. */
export function onServer(about) {
  let agreed = serverIsHere;
  return {
    predict: async (source, consent) => {
      agreed = agreed || (await consent());
      if (!agreed) throw new Reason("Not sent: you declined. Choose “Try again” to decide again.");
      const file = source instanceof Blob ? source : await jpeg(source);
      if (file.size > about.limits.bytes) {
        throw new Reason(`More than ${about.limits.bytes / 1e6} MB. Make the image smaller.`);
      }
      const start = performance.now();
      const body = new FormData();
      body.append("file", file, "image");
      const response = await answered(fetch(`predict?conf=${LEAST}`, { method: "POST", body }));
      return { ...(await response.json()), milliseconds: performance.now() - start };
    },
  };
}

/** A frame of the camera as a file. */
export async function jpeg(video) {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
}
