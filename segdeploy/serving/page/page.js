"use strict";

// The page shows what the server returns: every mask comes from POST /segment.

const $ = (id) => document.getElementById(id);
const FRAME_QUALITY = 0.85;
const state = { models: [], panes: [], files: [], position: 0, stream: null, run: 0 };

function tell(text, failed = false) {
  $("status").textContent = text;
  $("status").classList.toggle("failed", failed);
}

async function ask(address, options = {}) {
  const response = await fetch(address, options);
  if (response.status === 401) {
    $("key-form").hidden = false;
    $("key").focus();
  }
  if (!response.ok) {
    const problem = await response.json().catch(() => ({}));
    throw new Error(problem.detail || `the server answered ${response.status}`);
  }
  return response;
}

/** One model's view: the image, its overlay, and a legend. */
class Pane {
  constructor(model) {
    this.model = model;
    this.element = $("pane").content.firstElementChild.cloneNode(true);
    this.canvas = this.element.querySelector("canvas");
    this.under = this.element.querySelector(".under");
    this.element.querySelector("figcaption").textContent =
      `${model.name} · ${model.architecture}, ${model.precision}`;
    this.colors = new Uint8ClampedArray(256 * 4);
    model.classes.forEach(({ color }, index) => this.colors.set([...color, 255], 4 * index));
    for (let index = model.classes.length; index < 256; index += 1) {
      this.colors[4 * index + 3] = 255;
    }
    this.point = null;
    this.canvas.addEventListener("pointermove", (event) => this.pointAt(event));
    this.canvas.addEventListener("pointerdown", (event) => this.pointAt(event));
    this.canvas.addEventListener("pointerleave", () => this.show(null));
    this.canvas.addEventListener("keydown", (event) => this.move(event));
    this.canvas.addEventListener("blur", () => this.show(null));
    this.fill({});
  }

  /** Ask the server about an image, and draw the answer unless a newer image came meanwhile. */
  async segment(blob, picture, isCurrent) {
    const include = this.model.confidence ? "shares,mask,confidence" : "shares,mask";
    const query = new URLSearchParams({ model: this.model.name, as: "json", include });
    const response = await ask(`/segment?${query}`, { method: "POST", body: blob });
    const answer = await response.json();
    const mask = await numbers(answer.mask);
    const confidence = answer.confidence ? await numbers(answer.confidence.png) : null;
    if (!isCurrent()) {
      return null;
    }
    Object.assign(this, { picture, answer, mask, confidence });
    this.overlay = this.paintOverlay();
    this.fill(answer.shares);
    this.draw();
    return answer;
  }

  paintOverlay() {
    const { width, height } = this.answer;
    const image = new ImageData(width, height);
    for (let pixel = 0; pixel < this.mask.length; pixel += 1) {
      const color = 4 * this.mask[pixel];
      image.data[4 * pixel] = this.colors[color];
      image.data[4 * pixel + 1] = this.colors[color + 1];
      image.data[4 * pixel + 2] = this.colors[color + 2];
      image.data[4 * pixel + 3] = 255;
    }
    const canvas = new OffscreenCanvas(width, height);
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  }

  draw() {
    if (!this.answer) {
      return;
    }
    const { width, height } = this.answer;
    if (this.canvas.width !== width || this.canvas.height !== height) {
      Object.assign(this.canvas, { width, height });
    }
    const context = this.canvas.getContext("2d");
    context.globalAlpha = 1;
    context.clearRect(0, 0, width, height);
    if (this.picture) {
      context.drawImage(this.picture, 0, 0, width, height);
    }
    context.globalAlpha = this.picture ? $("opacity").value / 100 : 1;
    context.drawImage(this.overlay, 0, 0);
    context.globalAlpha = 1;
    if (this.point && document.activeElement === this.canvas) {
      const size = Math.max(6, width / 60);
      context.strokeStyle = "#ffffff";
      context.lineWidth = Math.max(1, width / 400);
      context.strokeRect(this.point.x - size / 2, this.point.y - size / 2, size, size);
    }
    this.describe();
  }

  fill(shares) {
    const rows = this.model.classes.map(({ name, color }) => {
      const row = document.createElement("tr");
      const [label, share] = [document.createElement("td"), document.createElement("td")];
      label.append(swatch(color), name);
      share.textContent = name in shares ? `${(100 * shares[name]).toFixed(1)}%` : "";
      row.append(label, share);
      return { row, share: shares[name] || 0 };
    });
    rows.sort((one, other) => other.share - one.share);
    this.element.querySelector("tbody").replaceChildren(...rows.map(({ row }) => row));
  }

  describe() {
    const largest = Object.entries(this.answer.shares)
      .sort(([, one], [, other]) => other - one)
      .slice(0, 3)
      .map(([name, share]) => `${name} ${(100 * share).toFixed(0)}%`);
    this.canvas.setAttribute(
      "aria-label",
      `Segmented by ${this.model.name}: ${largest.join(", ")}. Arrow keys read single points.`,
    );
  }

  pointAt(event) {
    if (!this.answer) {
      return;
    }
    const box = this.canvas.getBoundingClientRect();
    const x = Math.floor(((event.clientX - box.left) / box.width) * this.answer.width);
    const y = Math.floor(((event.clientY - box.top) / box.height) * this.answer.height);
    this.show({ x, y });
  }

  move(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (!this.answer || !(event.key in steps)) {
      return;
    }
    event.preventDefault();
    const { width, height } = this.answer;
    const size = event.shiftKey ? 1 : Math.max(1, Math.round(width / 50));
    const { x, y } = this.point || { x: width >> 1, y: height >> 1 };
    const [right, down] = steps[event.key];
    this.show({
      x: Math.min(width - 1, Math.max(0, x + right * size)),
      y: Math.min(height - 1, Math.max(0, y + down * size)),
    });
  }

  /** Show class and confidence under a point here, and at the same place in the other view. */
  show(point) {
    for (const pane of state.panes) {
      pane.read(point);
    }
  }

  read(point) {
    this.point = point;
    const { width = 0, height = 0 } = this.answer || {};
    if (!point || point.x < 0 || point.y < 0 || point.x >= width || point.y >= height) {
      this.under.textContent = "\u00a0";
    } else {
      const pixel = point.y * width + point.x;
      const entry = this.model.classes[this.mask[pixel]];
      const sure = this.confidence
        ? `, ${((100 * this.confidence[pixel]) / 255).toFixed(0)}% confident`
        : "";
      this.under.replaceChildren(
        ...(entry ? [swatch(entry.color)] : []),
        `${entry ? entry.name : "not labeled"}${sure} (${point.x}, ${point.y})`,
      );
    }
    this.draw();
  }
}

function swatch(color) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: 1, height: 1, className: "swatch" });
  canvas.setAttribute("aria-hidden", "true");
  const context = canvas.getContext("2d");
  context.fillStyle = `rgb(${color.join(",")})`;
  context.fillRect(0, 0, 1, 1);
  return canvas;
}

/** Return the numbers of a gray PNG, as the server wrote them. */
async function numbers(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }), {
    colorSpaceConversion: "none",
    premultiplyAlpha: "none",
  });
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
  const values = new Uint8Array(bitmap.width * bitmap.height);
  for (let index = 0; index < values.length; index += 1) {
    values[index] = data[4 * index];
  }
  return values;
}

function arrange() {
  const names = [$("model").value, $("other").value].filter(Boolean);
  state.panes = names.map((name) => new Pane(state.models.find((model) => model.name === name)));
  $("panes").replaceChildren(...state.panes.map(({ element }) => element));
  $("panes").hidden = !state.files.length && !state.stream;
  again();
}

/** Segment what is chosen again, after a model or the input has changed. */
function again() {
  state.run += 1;
  if (state.stream || (state.files[state.position] || {}).type?.startsWith("video/")) {
    follow(state.run);
  } else if (state.files.length) {
    segmentFile(state.run);
  }
}

async function segmentAll(blob, picture, run) {
  const isCurrent = () => run === state.run;
  const start = performance.now();
  const answers = await Promise.all(
    state.panes.map((pane) => pane.segment(blob, picture, isCurrent)),
  );
  if (isCurrent()) {
    const [{ width, height }] = answers;
    $("download").disabled = false;
    tell(`${width} × ${height} pixels in ${(performance.now() - start).toFixed(0)} ms.`);
  }
}

async function segmentFile(run) {
  const file = state.files[state.position];
  $("position").textContent = `${state.position + 1} of ${state.files.length}`;
  document.querySelector(".steps").hidden = state.files.length < 2;
  tell(`Segmenting ${file.name} …`);
  // The server reads more formats than a browser shows; then the mask is shown alone.
  const picture = await createImageBitmap(file).catch(() => null);
  try {
    await segmentAll(file, picture, run);
  } catch (error) {
    if (run === state.run) {
      tell(`${file.name}: ${error.message}`, true);
    }
  }
}

/** Segment the newest frame of the video or webcam, one after the other. */
async function follow(run) {
  const video = $("video");
  const canvas = new OffscreenCanvas(1, 1);
  while (run === state.run) {
    if (video.readyState < 2) {
      await new Promise((done) => setTimeout(done, 50));
      continue;
    }
    Object.assign(canvas, { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: FRAME_QUALITY });
    try {
      await segmentAll(blob, await createImageBitmap(canvas), run);
    } catch (error) {
      tell(error.message, true);
      await new Promise((done) => setTimeout(done, 1000));
    }
    if (video.paused) {
      await new Promise((done) => {
        ["play", "seeked", "emptied"].forEach((name) =>
          video.addEventListener(name, done, { once: true }),
        );
      });
    }
  }
}

function open(files) {
  stopWebcam();
  state.files = [...files];
  state.position = 0;
  state.run += 1;
  if (!state.files.length) {
    return;
  }
  $("hint").hidden = true;
  $("panes").hidden = false;
  showVideo();
  again();
}

function showVideo() {
  const video = $("video");
  const file = state.files[state.position];
  const isVideo = Boolean(file && file.type.startsWith("video/"));
  if (video.src) {
    URL.revokeObjectURL(video.src);
    video.removeAttribute("src");
  }
  video.hidden = !isVideo;
  if (isVideo) {
    video.src = URL.createObjectURL(file);
    video.play();
  }
}

function step(by) {
  state.position = (state.position + by + state.files.length) % state.files.length;
  showVideo();
  again();
}

async function toggleWebcam() {
  if (state.stream) {
    stopWebcam();
    tell("The webcam is off.");
    return;
  }
  try {
    state.stream = await navigator.mediaDevices.getUserMedia({ video: true });
  } catch (error) {
    tell(`The webcam cannot be used: ${error.message}`, true);
    return;
  }
  state.files = [];
  $("hint").hidden = true;
  $("panes").hidden = false;
  $("webcam").setAttribute("aria-pressed", "true");
  $("video").srcObject = state.stream;
  await $("video").play();
  again();
}

function stopWebcam() {
  if (state.stream) {
    state.stream.getTracks().forEach((track) => track.stop());
    state.stream = null;
    state.run += 1;
    $("video").srcObject = null;
    $("webcam").setAttribute("aria-pressed", "false");
  }
}

/** Save the views as they are seen, beside each other. */
function download() {
  const shown = state.panes.filter(({ answer }) => answer).map(({ canvas }) => canvas);
  const height = Math.max(...shown.map((canvas) => canvas.height));
  const width = shown.reduce((sum, canvas) => sum + canvas.width, 0);
  const whole = Object.assign(document.createElement("canvas"), { width, height });
  let x = 0;
  for (const canvas of shown) {
    whole.getContext("2d").drawImage(canvas, x, 0);
    x += canvas.width;
  }
  const file = state.files[state.position];
  const link = document.createElement("a");
  link.download = `${file ? file.name.replace(/\.[^.]*$/, "") : "webcam"}-segmented.png`;
  link.href = whole.toDataURL("image/png");
  link.click();
}

async function start() {
  try {
    state.models = await (await ask("/models")).json();
    $("key-form").hidden = true;
    for (const { name } of state.models) {
      $("model").append(new Option(name, name));
      $("other").append(new Option(name, name));
    }
    arrange();
    await showCameras();
  } catch (error) {
    tell(error.message, true);
  }
}

async function showCameras() {
  const cameras = await (await ask("/cameras")).json();
  $("cameras").hidden = !cameras.length;
  for (const { camera: name } of cameras) {
    const figure = document.createElement("figure");
    const image = document.createElement("img");
    const caption = document.createElement("figcaption");
    figure.className = "pane";
    Object.assign(image, { src: `/live/${encodeURIComponent(name)}`, alt: `Live view of ${name}` });
    caption.textContent = name;
    figure.append(caption, image);
    $("camera-views").append(figure);
    listen(name, caption);
  }
}

function listen(name, caption) {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${location.host}/live/${encodeURIComponent(name)}/events`);
  socket.onmessage = ({ data }) => {
    const { age, connected, shares = {} } = JSON.parse(data);
    const largest = Object.entries(shares).sort(([, one], [, other]) => other - one)[0];
    const what = largest ? `, ${largest[0]} ${(100 * largest[1]).toFixed(0)}%` : "";
    const old = age === undefined ? "no image yet" : `${age.toFixed(1)} s old`;
    caption.textContent = `${name}: ${old}${connected ? what : ", not connected"}`;
  };
  socket.onclose = () => setTimeout(() => listen(name, caption), 2000);
}

$("files").addEventListener("change", ({ target }) => open(target.files));
$("webcam").addEventListener("click", toggleWebcam);
$("previous").addEventListener("click", () => step(-1));
$("next").addEventListener("click", () => step(1));
$("model").addEventListener("change", arrange);
$("other").addEventListener("change", arrange);
$("download").addEventListener("click", download);
$("opacity").addEventListener("input", ({ target }) => {
  $("opacity-value").textContent = `${target.value}%`;
  state.panes.forEach((pane) => pane.draw());
});
$("key-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await ask("/login", { method: "POST", body: $("key").value });
    start();
  } catch (error) {
    tell(error.message, true);
  }
});
for (const [name, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
  $("drop").addEventListener(name, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", over);
    if (name === "drop") {
      open(event.dataTransfer.files);
    }
  });
}
start();
