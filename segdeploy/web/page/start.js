// Runs before the page's module, which browsers do not load from file://.

"use strict";

if (location.protocol === "file:") {
  const status = document.getElementById("status");
  status.classList.add("failed");
  status.textContent =
    "Browsers do not load a page's parts from file://. Run \"python3 -m http.server\" in this" +
    " folder, and open http://localhost:8000.";
}
