// The page: images come in, wait, and are shown with their faces.

import { connectCamera } from "./camera.js";
import { annotated, confident, counts, kind, number, overlay, sentence } from "./faces.js";
import { Reason, health, inBrowser, onServer, serverIsHere } from "./model.js";

const find = (id) => document.getElementById(id);

// least: confidence from which on faces are shown; items: images, the newest first.
const state = { least: 0, classes: [], items: [] };
let model; // a promise of what predicts
let turn = Promise.resolve(); // one image at a time: memory holds one that is decoded

// The model

function start() {
  find("reload").hidden = true;
  model = prepare();
  model.catch((error) => {
    find("loading").hidden = true;
    find("state").textContent = error.message;
    find("reload").hidden = false;
  });
  return model;
}

async function prepare() {
  say("Loading the model …");
  const about = await health();
  if (!state.classes.length) {
    state.classes = about.model.classes;
    setLeast(about.model.confidence);
  }
  find("loading").hidden = false;
  try {
    const local = await inBrowser(about, (share) => {
      find("progress").value = share;
      if (share === 1) say("Starting the model …");
    });
    ready("Ready", "Images stay on this device");
    return local;
  } catch (error) {
    const where = serverIsHere ? "on this machine" : `on ${location.host}, after your consent`;
    ready(`Ready; the server predicts: ${error.message}`, `Predicted by the server ${where}`);
    return onServer(about);
  }
}

function say(text) {
  if (find("state").textContent !== text) find("state").textContent = text;
}

function ready(text, privacy) {
  say(text);
  find("loading").hidden = true;
  find("privacy").textContent = privacy;
  find("privacy").hidden = false;
}

let declined = 0; // times that images were not to be sent

/** Ask whether images may be sent; not again for one that waited while the user declined. */
async function consent(before) {
  if (declined > before) return false;
  const dialog = find("consent");
  find("consent-host").textContent = location.host;
  dialog.returnValue = "no";
  dialog.showModal();
  await new Promise((resolve) => { dialog.addEventListener("close", resolve, { once: true }); });
  if (dialog.returnValue !== "yes") declined += 1;
  return dialog.returnValue === "yes";
}

/** Predict when it is the source's turn, unless it is no longer wanted then. */
function predict(source, wanted = () => true) {
  const before = declined;
  const mine = turn.then(async () => {
    const predictor = await model;
    return wanted() ? predictor.predict(source, () => consent(before)) : undefined;
  });
  turn = mine.catch(() => {});
  return mine;
}

// Images

function add(files) {
  problem();
  for (const file of files) {
    const [card, url] = [newCard(), URL.createObjectURL(file)];
    const item = { file, card, url, name: file.name || "pasted image" };
    state.items.unshift(item);
    find("cards").prepend(item.card);
    connect(item);
    run(item);
  }
  if (!files.length) problem("There was no image. Drop or paste image files.");
}

async function run(item) {
  item.found = item.error = undefined;
  show(item);
  try {
    const result = await predict(item.file, () => !item.removed);
    if (!result) return;
    const { milliseconds, width, height, faces } = result;
    Object.assign(item, { milliseconds, found: { image: item.name, width, height, faces } });
  } catch (error) {
    item.error = error instanceof Reason ? error.message : `It failed: ${error.message}`;
  }
  show(item);
}

function newCard() {
  return find("card").content.firstElementChild.cloneNode(true);
}

function connect(item) {
  const { card, name } = item;
  const part = (selector) => card.querySelector(selector);
  part("h3").textContent = name;
  part("img").src = item.url;
  const actions = {
    retry: ["Try again", () => retry(item)],
    image: ["Save image", () => saveImage(item)],
    json: ["Save JSON", () => saveJson(shown(item), `${stem(name)}.json`)],
    remove: ["Remove", () => remove(item)],
  };
  for (const [key, [words, action]] of Object.entries(actions)) {
    part(`.${key}`).setAttribute("aria-label", `${words}: ${name}`);
    part(`.${key}`).addEventListener("click", action);
  }
}

async function retry(item) {
  item.card.focus(); // the button goes away
  await model.catch(start).catch(() => {});
  run(item);
}

function remove(item) {
  item.removed = true;
  URL.revokeObjectURL(item.url);
  const next = item.card.nextElementSibling ?? item.card.previousElementSibling;
  state.items = state.items.filter((other) => other !== item);
  item.card.remove();
  (next ?? find("choose")).focus();
  summarise();
}

/** What is shown of an image: as the server answers, but for the faces left out. */
const shown = ({ found }) => ({ ...found, faces: confident(found.faces, state.least) });

function show(item) {
  draw(item);
  summarise();
}

function draw(item) {
  const { card, found, error } = item;
  const part = (selector) => card.querySelector(selector);
  card.classList.toggle("failed", Boolean(error));
  card.classList.toggle("waiting", !found && !error);
  part(".shown").hidden = Boolean(error);
  part(".retry").hidden = !error;
  for (const selector of [".image", ".json", "details"]) part(selector).hidden = !found;
  if (!found) {
    part(".facts").textContent = error ?? "Waiting …";
    part("img").alt = "";
    part(".layer").replaceChildren();
  } else {
    const { faces, width, height } = shown(item);
    const text = sentence(faces, state.classes);
    const time = `${Math.round(item.milliseconds)} ms`;
    part(".facts").textContent = `${text} · ${width} × ${height} px · ${time}`;
    part("img").alt = `${item.name}: ${text}`;
    part("summary").textContent = `List of ${number(faces.length, "face")}`;
    part("details").hidden = !faces.length;
    part("ol").replaceChildren(...faces.map(line));
    overlay(part(".layer"), found, faces);
  }
}

function line({ name, confidence, box }) {
  const place = [box.x1, box.y1, box.x2, box.y2].map(Math.round);
  const item = document.createElement("li");
  const corners = `${place[0]}, ${place[1]} to ${place[2]}, ${place[3]} px`;
  item.textContent = `${kind(name).short} ${confidence.toFixed(2)}: ${corners}`;
  return item;
}

// The whole

function setLeast(value) {
  state.least = value;
  find("least").value = value;
  find("least-shown").textContent = value.toFixed(2);
  state.items.filter(({ found }) => found).forEach(draw);
  summarise();
}

let later;

function summarise() {
  const done = state.items.filter(({ found }) => found);
  const failed = state.items.filter(({ error }) => error);
  const faces = done.flatMap((item) => shown(item).faces);
  find("results").hidden = !state.items.length;
  find("all-json").disabled = !done.length;
  find("counts").replaceChildren(...Object.entries(counts(faces, state.classes)).map(countOf));
  const parts = [`${number(done.length, "image")}, ${sentence(faces, state.classes)}`];
  parts.push(...failed.map(({ name, error }) => `${name} failed: ${error}`));
  if (done.length + failed.length < state.items.length) parts.push("more are waiting");
  // A screen reader would read every step of the slider.
  clearTimeout(later);
  later = setTimeout(() => { find("summary").textContent = parts.join(". "); }, 400);
}

function countOf([name, count]) {
  const group = document.createElement("div");
  group.dataset.kind = name;
  const term = document.createElement("dt");
  term.textContent = kind(name).long;
  const value = document.createElement("dd");
  value.textContent = count;
  group.append(term, value);
  return group;
}

const stem = (name) => name.replace(/\.[^.]*$/, "");

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function saveJson(value, name) {
  save(new Blob([JSON.stringify(value, null, 2)], { type: "application/json" }), name);
}

async function saveImage(item) {
  try {
    const blob = await annotated(item.file, shown(item).faces);
    save(blob, `${stem(item.name)}-faces.${blob.type === "image/png" ? "png" : "jpg"}`);
  } catch (error) {
    problem(`${item.name} cannot be saved: ${error.message}. Choose the file again.`);
  }
}

function problem(text = "") {
  find("problem").textContent = text;
  find("problem").hidden = !text;
}

// What the user does

find("choose").addEventListener("click", () => find("files").click());
find("files").addEventListener("change", ({ target }) => {
  add([...target.files]);
  target.value = ""; // so that the same file can be chosen again
});
find("reload").addEventListener("click", () => start().catch(() => {}));
find("least").addEventListener("input", ({ target }) => setLeast(Number(target.value)));
find("all-json").addEventListener("click", () => {
  saveJson(state.items.filter(({ found }) => found).map(shown), "faces.json");
});
find("clear").addEventListener("click", () => [...state.items].forEach(remove));

addEventListener("paste", ({ clipboardData }) => {
  if (clipboardData.files.length) add([...clipboardData.files]);
  else problem("The clipboard holds no image.");
});
addEventListener("dragover", (event) => {
  event.preventDefault();
  find("drop").classList.add("over");
});
addEventListener("dragleave", ({ relatedTarget }) => {
  if (!relatedTarget) find("drop").classList.remove("over");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  find("drop").classList.remove("over");
  add([...event.dataTransfer.files]);
});

connectCamera({ predict, state, keep: (file) => add([file]), problem });
start().catch(() => {});
