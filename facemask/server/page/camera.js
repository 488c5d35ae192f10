// The camera: its image with boxes, predicted again and again, until it is stopped or lost.

import { confident, overlay, sentence } from "./faces.js";
import { jpeg } from "./model.js";

const PAUSE = 30; // ms between two predictions, for everything else that the page does

const find = (id) => document.getElementById(id);
const video = find("video");

let stream;
let facing = "user";

/**
 * Connect the buttons of the camera.
 *
 * `predict` finds the faces of a frame; `state` has the least confidence and the classes; `keep`
 * takes a file; `problem` shows what is wrong, or nothing.
 */
export function connectCamera({ predict, state, keep, problem }) {
  const begin = async () => {
    find("start-camera").disabled = true; // the browser may ask for long
    find("turn").disabled = true;
    try {
      await start();
    } catch (error) {
      stop();
      problem(reason(error));
      return;
    } finally {
      find("turn").disabled = false;
    }
    watch(predict, state, problem);
  };
  find("start-camera").addEventListener("click", () => { problem(); begin(); });
  find("stop-camera").addEventListener("click", () => { stop(); find("start-camera").focus(); });
  find("turn").addEventListener("click", () => {
    facing = facing === "user" ? "environment" : "user";
    stop();
    begin();
  });
  find("take").addEventListener("click", async () => {
    const blob = await jpeg(video);
    const time = new Date().toTimeString().slice(0, 8).replaceAll(":", "-");
    keep(new File([blob], `camera ${time}.jpg`, { type: blob.type }));
  });
}

async function start() {
  if (!navigator.mediaDevices) throw new DOMException("", "SecurityError");
  const wanted = { video: { facingMode: facing, width: { ideal: 1280 } } };
  stream = await navigator.mediaDevices.getUserMedia(wanted);
  const devices = await navigator.mediaDevices.enumerateDevices();
  find("turn").hidden = devices.filter(({ kind }) => kind === "videoinput").length < 2;
  video.srcObject = stream;
  await video.play();
  find("camera").hidden = false; // with all its sizes known, so that no button moves under a finger
  find("take").focus();
}

function stop() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = undefined;
  video.srcObject = null;
  find("camera").hidden = true;
  find("start-camera").disabled = false;
}

async function watch(predict, state, problem) {
  const current = stream;
  current.getVideoTracks()[0].addEventListener("ended", () => {
    if (stream !== current) return;
    stop();
    problem("The camera was disconnected. Connect it, then choose “Use the camera” again.");
  });
  while (stream === current) {
    try {
      const found = await predict(video);
      if (stream !== current) return;
      const faces = confident(found.faces, state.least);
      overlay(find("video-layer"), found, faces);
      const time = `${Math.round(found.milliseconds)} ms an image`;
      find("camera-state").textContent = `${sentence(faces, state.classes)} · ${time}`;
    } catch (error) {
      if (stream !== current) return;
      stop();
      problem(`The camera was stopped. ${error.message}`);
    }
    await new Promise((resolve) => { setTimeout(resolve, PAUSE); });
  }
}

function reason(error) {
  const reasons = {
    NotAllowedError: "The browser does not allow the camera. Allow it here, then try again.",
    NotFoundError: "There is no camera. Connect one, then try again.",
    NotReadableError: "The camera is used by another program. Close it, then try again.",
    SecurityError: "Browsers allow the camera on https pages and on localhost alone.",
  };
  return reasons[error.name] ?? `The camera does not start: ${error.message || error.name}.`;
}
