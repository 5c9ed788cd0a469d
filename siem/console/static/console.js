// What the pages need beside htmx: telling that the server is away, and asking before something cannot be taken back.
(() => {
  "use strict";

  const banner = document.getElementById("connection");

  function connected(yes) {
    if (banner) banner.hidden = yes;
  }

  document.addEventListener("htmx:sendError", () => connected(false));
  document.addEventListener("htmx:timeout", () => connected(false));
  document.addEventListener("htmx:responseError", (event) => connected(event.detail.xhr.status < 500));
  document.addEventListener("htmx:afterOnLoad", () => connected(true));

  document.addEventListener("change", (event) => {
    const limit = Number(event.target.dataset.limit);
    if (!limit) return;
    const size = event.target.files.length ? event.target.files[0].size : 0;
    event.target.setCustomValidity(size > limit ? `The file has ${size} bytes, at most ${limit} are taken.` : "");
  });

  document.addEventListener("submit", (event) => {
    const question = event.target.dataset.confirm;
    if (question && !window.confirm(question)) event.preventDefault();
  });
})();
