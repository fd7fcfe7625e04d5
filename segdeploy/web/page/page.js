// The page: takes images, videos and the camera, shows masks and speed. worker.js computes.

const MOST_PIXELS = 64e6;
const SPEED_INTERVAL = 500;

const query = new URLSearchParams(location.search);
const element = (id) => document.getElementById(id);
const imageCanvas = element("image"), overlayCanvas = element("overlay"), video = element("video");

let card = null, worker = null, palette = null;
let shown = null;
let source = 0;
let finished = [];

start().catch((error) => fail(error.message));

async function start() {
  const description = await fetchJson("model.json");
  ({card} = description);
  palette = Uint32Array.from(card.classes, ({color: [red, green, blue]}) =>
    (255 << 24 | blue << 16 | green << 8 | red) >>> 0);
  document.title = `${card.architecture} in the browser`;
  if (description.offline && await isolate()) return;
  report("Loading the network and its runtime");
  startWorker();
  const opened = await ask({
    type: "open", description, options: {
      base: new URL(".", location.href).href, device: query.get("device") ?? "",
      threads: Math.max(0, Math.trunc(Number(query.get("threads")) || 0)),
    },
  });
  const threads = opened.threads === 0 ? "" :
    opened.threads === 1 ? ", 1 thread" : `, ${opened.threads} threads`;
  report(`Ready: ${card.architecture}, ${card.precision}, ${opened.device}${threads}`);
  for (const text of opened.notes) addNote(text);
  connect();
}

/**
 * Install the service worker, and load the page again under it where it has no threads yet.
 *
 * Returns whether the page is being loaded again.
 */
async function isolate() {
  if (!("serviceWorker" in navigator)) {
    addNote("not kept for use without a network: this needs https or localhost");
    return false;
  }
  try {
    report("Loading all files, once");
    const registration = await navigator.serviceWorker.register(
      "service.js", {updateViaCache: "none"});
    await navigator.serviceWorker.ready;
    registration.addEventListener("updatefound", () => {
      addNote("a newer version is there; load the page again");
    });
  } catch (error) {
    addNote(`not kept for use without a network: ${error.message}`);
    return false;
  }
  const isFirst = sessionStorage.getItem("isolated") === null;
  if (crossOriginIsolated || !isFirst) return false;
  sessionStorage.setItem("isolated", "tried");
  location.reload();
  return true;
}

function connect() {
  element("file").disabled = false;
  element("camera").disabled = false;
  element("file").addEventListener("change", ({target}) => {
    if (target.files[0]) open(target.files[0]);
    target.value = "";
  });
  element("camera").addEventListener("click", () => openCamera());
  element("stop").addEventListener("click", () => stop());
  element("opacity").addEventListener("input", ({target}) => {
    overlayCanvas.style.opacity = target.value;
  });
  element("save-mask").addEventListener("click", () => save("mask", drawLabels));
  element("save-frame").addEventListener("click", () => save("frame", () => imageCanvas));
  element("save-overlay").addEventListener("click", () => save("overlay", drawSeen));
  for (const type of ["dragenter", "dragover", "dragleave", "drop"]) {
    document.addEventListener(type, (event) => {
      event.preventDefault();
      element("view").classList.toggle("over", type === "dragenter" || type === "dragover");
      const [file] = event.dataTransfer.files;
      if (type === "drop" && file) open(file);
    });
  }
}

/** Show a file: a video if the browser says so, else an image. */
async function open(file) {
  const own = stop();
  try {
    if (file.type.startsWith("video/")) {
      video.src = URL.createObjectURL(file);
      await play(own, file.name);
    } else {
      const bitmap = await decode(file);
      if (own !== source) return bitmap.close();
      await segment(own, bitmap, 0);
      report(`${file.name}: ${shown.width} x ${shown.height} pixels`);
    }
  } catch (error) {
    if (own === source) fail(error.message);
  }
}

async function decode(file) {
  let bitmap = null;
  try {
    bitmap = await createImageBitmap(file, {
      colorSpaceConversion: "none", premultiplyAlpha: "none", imageOrientation: "from-image",
    });
  } catch {
    throw new Error(`${file.name} is no image that this browser can read`);
  }
  const pixels = bitmap.width * bitmap.height;
  if (pixels > MOST_PIXELS) {
    bitmap.close();
    throw new Error(
      `${file.name} has ${Math.round(pixels / 1e6)} megapixels, and the page takes ` +
      `${MOST_PIXELS / 1e6}; use a smaller image`);
  }
  return bitmap;
}

async function openCamera() {
  const own = stop();
  try {
    if (!navigator.mediaDevices) throw new Error("a camera needs https or localhost");
    const stream = await navigator.mediaDevices.getUserMedia({
      video: {width: {ideal: 1280}, height: {ideal: 720}, facingMode: "environment"},
    });
    if (own !== source) return release(stream);
    video.srcObject = stream;
    await play(own, "camera");
  } catch (error) {
    if (own === source) fail(`the camera cannot be used: ${error.message}`);
  }
}

/** Segment frame after frame, each the newest one, until another source is chosen. */
async function play(own, name) {
  try {
    await video.play();
  } catch (error) {
    throw new Error(`${name} cannot be played by this browser (${error.message})`);
  }
  element("stop").disabled = false;
  report(`${name}: ${video.videoWidth} x ${video.videoHeight} pixels`);
  while (own === source) {
    const start = performance.now();
    const bitmap = await createImageBitmap(video, {colorSpaceConversion: "none"});
    if (own !== source) return bitmap.close();
    await segment(own, bitmap, performance.now() - start);
    await nextFrame();
  }
}

/** Wait until the video shows a frame that was not segmented yet; at most for half a second. */
function nextFrame() {
  if (!video.requestVideoFrameCallback) return new Promise(requestAnimationFrame);
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, SPEED_INTERVAL);
    video.requestVideoFrameCallback(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}

/** End what is playing, and return the number of the source that begins. */
function stop() {
  source++;
  video.pause();
  if (video.srcObject) release(video.srcObject);
  if (video.src) URL.revokeObjectURL(video.src);
  video.srcObject = null;
  video.removeAttribute("src");
  element("stop").disabled = true;
  finished = [];
  return source;
}

function release(stream) {
  for (const track of stream.getTracks()) track.stop();
}

/** Ask the worker for the mask of a frame, and show both. */
async function segment(own, bitmap, capture) {
  const answer = await ask({type: "segment", bitmap}, [bitmap]);
  if (own !== source) return answer.bitmap.close();
  const start = performance.now();
  draw(answer);
  const times = {capture, ...answer.times, draw: performance.now() - start};
  showSpeed(times);
}

let asked = 0;
const waiting = new Map();

function startWorker() {
  worker = new Worker("worker.js", {type: "module"});
  worker.onmessage = ({data}) => {
    const {resolve, reject} = waiting.get(data.id);
    waiting.delete(data.id);
    if (data.type === "failed") reject(new Error(data.message));
    else resolve(data);
  };
  worker.onerror = (event) => {
    const error = new Error(event.message || "the page's worker does not start");
    for (const {reject} of waiting.values()) reject(error);
    waiting.clear();
  };
}

/** Send a message to the worker, and return its answer. */
function ask(message, transfer = []) {
  const id = ++asked;
  return new Promise((resolve, reject) => {
    waiting.set(id, {resolve, reject});
    worker.postMessage({...message, id}, transfer);
  });
}

/** Show a frame, its mask over it, and the share of each class. */
function draw({bitmap, mask, height, width}) {
  for (const canvas of [imageCanvas, overlayCanvas]) {
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
  }
  imageCanvas.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
  shown = {mask, height, width};
  overlayCanvas.getContext("2d").putImageData(colored(palette), 0, 0);
  element("view").classList.remove("empty");
  for (const id of ["save-mask", "save-frame", "save-overlay"]) element(id).disabled = false;
}

/** Return the mask shown, in colors by class: numbers whose bytes are red, green, blue, opacity. */
function colored(colors) {
  const pixels = new Uint32Array(shown.mask.length);
  for (let at = 0; at < pixels.length; at++) pixels[at] = colors[shown.mask[at]];
  return new ImageData(new Uint8ClampedArray(pixels.buffer), shown.width, shown.height);
}

let speedShown = 0;

function showSpeed(times) {
  const now = performance.now();
  // Of a slow network at least the last two frames.
  const last = finished.length - 1;
  finished = [...finished.filter((time, at) => now - time < 2000 || at === last), now];
  if (finished.length > 1 && now - speedShown < SPEED_INTERVAL) return;
  speedShown = now;
  const seconds = (now - finished[0]) / 1000;
  const fps = finished.length > 1 ? (finished.length - 1) / seconds : null;
  fill(element("speed"), [
    ...(fps === null ? [] : [[["fps (wall time)"], fps.toFixed(1)]]),
    ...Object.entries(times).map(([name, time]) => [[name], `${time.toFixed(1)} ms`]),
  ]);
  showClasses();
}

function showClasses() {
  const counts = new Float64Array(card.classes.length);
  for (const label of shown.mask) counts[label]++;
  fill(element("classes"), card.classes.map(({name, color}, index) => {
    const swatch = document.createElement("span");
    swatch.className = "swatch";
    swatch.style.background = `rgb(${color.join(" ")})`;
    return [[swatch, name], `${(100 * counts[index] / shown.mask.length).toFixed(1)}%`];
  }));
}

/** Fill a table with rows of two cells. */
function fill(table, rows) {
  table.tBodies[0].replaceChildren(...rows.map(([parts, text]) => {
    const row = document.createElement("tr");
    row.insertCell().append(...parts);
    row.insertCell().append(text);
    return row;
  }));
}

/** Return a canvas with the class of each pixel as its gray value. */
function drawLabels() {
  const canvas = new OffscreenCanvas(shown.width, shown.height);
  const gray = Uint32Array.from({length: 256}, (_, label) =>
    (255 << 24 | label << 16 | label << 8 | label) >>> 0);
  canvas.getContext("2d").putImageData(colored(gray), 0, 0);
  return canvas;
}

/** Return a canvas with what is seen: the image, and the mask over it. */
function drawSeen() {
  const canvas = new OffscreenCanvas(shown.width, shown.height);
  const context = canvas.getContext("2d");
  context.drawImage(imageCanvas, 0, 0);
  context.globalAlpha = Number(element("opacity").value);
  context.drawImage(overlayCanvas, 0, 0);
  return canvas;
}

async function save(name, drawn) {
  const canvas = drawn();
  const blob = canvas.convertToBlob ? await canvas.convertToBlob() :
    await new Promise((resolve) => canvas.toBlob(resolve));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${name}.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

async function fetchJson(name) {
  const response = await fetch(name);
  if (!response.ok) throw new Error(`${name} answers ${response.status}; is the folder complete?`);
  return response.json();
}

function addNote(text) {
  const item = document.createElement("li");
  item.textContent = text;
  element("notes").append(item);
}

function report(text) {
  element("status").classList.remove("failed");
  element("status").textContent = text;
}

function fail(text) {
  element("status").classList.add("failed");
  element("status").textContent = text;
}
