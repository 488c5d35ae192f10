// Classes of faces: their words and colours; boxes over an image and in a file of it.

export const LEAST = 0.05; // confidence below which no face is kept

// Blue, orange and purple differ for every kind of colour blindness, and so do signs and lines.
export const KINDS = {
  with_mask: { sign: "✓", short: "Mask", long: "with a mask", colour: "#0072b2", dash: [] },
  without_mask: {
    sign: "✕",
    short: "No mask",
    long: "without a mask",
    colour: "#c44f00",
    dash: [9, 4],
  },
  mask_weared_incorrect: {
    sign: "!",
    short: "Worn wrongly",
    long: "with a mask worn incorrectly",
    colour: "#8d3b8a",
    dash: [3, 3],
  },
};
const OTHER = { sign: "?", colour: "#444", dash: [] };

/** Words and colour of a class. */
export const kind = (name) => KINDS[name] ?? { short: name, long: `of class ${name}`, ...OTHER };

/** Faces of at least that confidence. */
export const confident = (faces, least) => faces.filter((face) => face.confidence >= least);

/** How many faces there are of each class, of all that the model knows. */
export function counts(faces, classes) {
  const count = Object.fromEntries(classes.map((name) => [name, 0]));
  faces.forEach((face) => { count[face.name] += 1; });
  return count;
}

/** "1 face", "3 faces". */
export const number = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

/** "3 faces: 2 with a mask, 1 without a mask". */
export function sentence(faces, classes) {
  const count = counts(faces, classes);
  const seen = classes.filter((name) => count[name]);
  const parts = seen.map((name) => `${count[name]} ${kind(name).long}`);
  return number(faces.length, "face") + (parts.length ? `: ${parts.join(", ")}` : "");
}

/** Lay boxes over an element that shows the image; they follow its size. */
export function overlay(layer, { width, height }, faces) {
  layer.replaceChildren(...faces.map((face) => {
    const { x1, y1, x2, y2 } = face.box;
    const box = document.createElement("div");
    box.className = "box";
    box.dataset.kind = face.name;
    box.style.left = `${(100 * x1) / width}%`;
    box.style.top = `${(100 * y1) / height}%`;
    box.style.width = `${(100 * (x2 - x1)) / width}%`;
    box.style.height = `${(100 * (y2 - y1)) / height}%`;
    const label = document.createElement("span");
    // Labels of small faces would hide their neighbours.
    const { sign, short } = kind(face.name);
    const words = (x2 - x1) / width < 0.14 ? sign : `${sign} ${short}`;
    label.textContent = `${words} ${face.confidence.toFixed(2)}`;
    box.append(label);
    box.classList.toggle("below", y1 / height < 0.1);
    box.classList.toggle("right", x2 / width > 0.88);
    return box;
  }));
}

/** The image with its boxes, as a file. */
export async function annotated(file, faces) {
  const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  const canvas = document.createElement("canvas");
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0);
  const line = Math.max(2, Math.round(Math.max(canvas.width, canvas.height) / 400));
  faces.forEach((face) => draw(context, face, line));
  const type = file.type === "image/png" ? "image/png" : "image/jpeg";
  return new Promise((resolve, reject) => {
    const done = (blob) => (blob ? resolve(blob) : reject(new Error("it is too large to draw on")));
    canvas.toBlob(done, type, 0.92);
  });
}

function draw(context, { name, confidence, box: { x1, y1, x2, y2 } }, line) {
  const { sign, short, colour, dash } = kind(name);
  const stroke = (style, width, pattern) => {
    context.strokeStyle = style;
    context.lineWidth = width;
    context.setLineDash(pattern);
    context.strokeRect(x1, y1, x2 - x1, y2 - y1);
  };
  stroke("#fff", line * 2, []);
  stroke(colour, line, dash.map((length) => length * line / 2));
  const text = `${sign} ${short} ${confidence.toFixed(2)}`;
  const height = line * 7;
  context.font = `600 ${line * 5}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  const width = context.measureText(text).width + line * 3;
  const top = y1 < height ? y1 : y1 - height;
  const left = Math.max(0, Math.min(x1 - line, context.canvas.width - width));
  context.fillStyle = colour;
  context.fillRect(left, top, width, height);
  context.fillStyle = "#fff";
  context.fillText(text, left + line * 1.5, top + height / 2);
}
