// The service worker: keeps all files for use without a network, and adds the two headers without
// which browsers give a page no threads. files.js names the files and their version.

importScripts("files.js");

const CACHE = `segdeploy ${self.registration.scope} ${FILES.version}`;

self.addEventListener("install", (event) => {
  event.waitUntil(store().then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  event.waitUntil(removeOlder().then(() => self.clients.claim()));
});

self.addEventListener("fetch", (event) => {
  const address = new URL(event.request.url);
  if (event.request.method !== "GET" || !address.href.startsWith(self.registration.scope)) return;
  event.respondWith(answer(event.request));
});

async function store() {
  const cache = await caches.open(CACHE);
  await cache.addAll(FILES.names.map((name) => new Request(name, {cache: "no-cache"})));
}

async function removeOlder() {
  const prefix = `segdeploy ${self.registration.scope} `;
  const names = await caches.keys();
  const older = names.filter((name) => name.startsWith(prefix) && name !== CACHE);
  await Promise.all(older.map((name) => caches.delete(name)));
}

async function answer(request) {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(request, {ignoreSearch: true});
  const response = kept ?? await fetch(request);
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  const {status, statusText} = response;
  return new Response(response.body, {status, statusText, headers});
}
