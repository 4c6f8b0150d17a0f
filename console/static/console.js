// What the pages need beyond htmx: the clock, the notice that the server can't be reached, keys, guarded forms.
// Everything works without it; forms and links are plain HTML.
(function () {
  "use strict";
  var byId = document.getElementById.bind(document);

  // --- the clock: the server's time, run on at its speed (the demo's is faster) ---
  var now = byId("now"), face = byId("clock"), base = 0, since = 0;
  function pad(n) { return (n < 10 ? "0" : "") + n; }
  function text(ms) {
    var t = new Date(ms + Number(now.dataset.offsetMs));
    return pad(t.getUTCHours()) + ":" + pad(t.getUTCMinutes()) + ":" + pad(t.getUTCSeconds());
  }
  function setClock(ms) { base = Number(ms); since = performance.now(); }
  function tick() { face.textContent = text(base + (performance.now() - since) * Number(now.dataset.speed)); }
  if (now && face) { setClock(now.dataset.nowMs); setInterval(tick, 500); }

  // --- after each part that arrives: set the clock, and ask for the form again when the agent's state changed ---
  function synced() {
    var sync = byId("sync");
    if (!sync) return;
    if (now) setClock(sync.dataset.nowMs);
    if (byId("judged") && sync.dataset.judged) byId("judged").textContent = sync.dataset.judged;
    var act = byId("agent-act");
    if (act && (act.dataset.epoch !== sync.dataset.epoch || act.dataset.state !== sync.dataset.state)) {
      act.dataset.epoch = sync.dataset.epoch;
      act.dataset.state = sync.dataset.state;
      window.htmx.trigger(act, "refresh");
    }
  }
  var lastGood = Date.now();
  function lost() {
    var notice = byId("lost");
    if (!notice || Date.now() - lastGood < 3000) return;
    if (notice.hidden) {
      byId("lost-at").textContent = face ? text(base) : new Date(lastGood).toTimeString().slice(0, 8);
      notice.hidden = false;
      document.body.classList.add("is-stale");
    }
  }
  document.addEventListener("htmx:afterSwap", function () {
    lastGood = Date.now();
    var notice = byId("lost");
    if (notice && !notice.hidden) { notice.hidden = true; document.body.classList.remove("is-stale"); }
    synced();
    guard();
  });
  document.addEventListener("htmx:sendError", lost);
  document.addEventListener("htmx:responseError", lost);
  document.addEventListener("htmx:beforeRequest", function (event) {
    if (document.hidden && event.detail.elt.classList.contains("live-part")) event.preventDefault();
  });
  document.addEventListener("visibilitychange", function () {
    var live = document.querySelector(".live-part[hx-get]");
    if (!document.hidden && live && window.htmx) window.htmx.ajax("GET", live.getAttribute("hx-get"), { target: live, swap: "morph:innerHTML" });
  });

  // --- forms whose button waits until everything required is filled in ---
  function guard() {
    document.querySelectorAll("form[data-guarded]").forEach(function (form) {
      var buttons = form.querySelectorAll("button[type=submit]");
      function disable(isOff) { buttons.forEach(function (button) { button.disabled = isOff; }); }
      function check() { disable(!form.checkValidity() || !form.reason.value.trim()); }
      if (!form.dataset.isGuarded) {
        form.dataset.isGuarded = "yes";
        form.addEventListener("input", check);
        form.addEventListener("submit", function () { setTimeout(function () { disable(true); }, 0); });
      }
      check();
    });
  }
  guard();

  // --- "Stop all" asks in a dialog; without this script its link leads to a page ---
  document.addEventListener("click", function (event) {
    var link = event.target.closest("a[data-ask]");
    if (link && !event.metaKey && !event.ctrlKey && window.htmx) {
      event.preventDefault();
      window.htmx.ajax("GET", link.getAttribute("href") + "?part=1", { target: "#ask", swap: "innerHTML" }).then(function () {
        guard();
        byId("ask").showModal();
      });
    }
    var copy = event.target.closest("[data-copy]");
    if (copy && navigator.clipboard) {
      navigator.clipboard.writeText(byId(copy.dataset.copy).textContent).then(function () {
        copy.textContent = "Copied";
        setTimeout(function () { copy.textContent = "Copy"; }, 1600);
      });
    }
    if (event.target.closest("[data-close]")) event.target.closest("dialog").close();
  });

  // --- keys ---
  var pages = { o: "/", a: "/agents", d: "/deals", p: "/approvals", f: "/findings" }, waiting = 0;
  function rows() { return Array.from(document.querySelectorAll("a.name")); }
  function move(by) {
    var all = rows(), at = all.indexOf(document.activeElement);
    if (all.length) all[Math.max(0, Math.min(all.length - 1, at < 0 ? (by > 0 ? 0 : all.length - 1) : at + by))].focus();
  }
  function turn() {
    var order = { "": "light", light: "dark", dark: "" }, root = document.documentElement;
    var next = order[root.dataset.theme || ""];
    if (next) root.dataset.theme = next; else delete root.dataset.theme;
    try { localStorage.setItem("theme", next); } catch (refused) { /* not kept, then */ }
  }
  document.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
    if (document.querySelector("dialog[open]") && event.key !== "?") return;
    var isSecond = performance.now() - waiting < 1200;
    waiting = 0;
    if (isSecond && pages[event.key]) location.href = pages[event.key];
    else if (event.key === "g") waiting = performance.now();
    else if (event.key === "?") { var keys = byId("keys"); keys.open ? keys.close() : keys.showModal(); }
    else if (event.key === "j") move(1);
    else if (event.key === "k") move(-1);
    else if (event.key === "t") turn();
    else return;
    event.preventDefault();
  });
})();
