// What a page must give to everybody; returns a list of complaints, empty when there are none.
() => {
  const complaints = [];
  const say = (what, element) => complaints.push(what + ": " + (element ? element.outerHTML.slice(0, 120) : ""));
  const seen = (e) => e.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true }) && e.getClientRects().length > 0;
  const nameOf = (e) =>
    (e.getAttribute("aria-label") || e.innerText || e.textContent || e.value || e.getAttribute("title") || "").trim() ||
    (e.getAttribute("aria-labelledby") || "").split(" ").map((id) => document.getElementById(id)?.textContent || "").join("");

  if (document.documentElement.lang !== "en") say("no language");
  if (document.querySelectorAll("main").length !== 1) say("not one main landmark");
  if (document.querySelectorAll("h1").length > 1) say("more than one h1");
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  ids.filter((id, n) => ids.indexOf(id) !== n).forEach((id) => complaints.push("id twice: " + id));
  document.querySelectorAll("a[href], button, summary").forEach((e) => { if (seen(e) && !nameOf(e)) say("no name", e); });
  document.querySelectorAll("input:not([type=hidden]), textarea, select").forEach((e) => {
    if (!e.labels?.length && !e.getAttribute("aria-label")) say("no label", e);
  });
  document.querySelectorAll("svg[role=img]").forEach((e) => { if (!nameOf(e)) say("no name", e); });
  document.querySelectorAll("[tabindex]").forEach((e) => { if (e.tabIndex > 0) say("tabindex above 0", e); });
  document.querySelectorAll("table").forEach((e) => {
    if (e.getAttribute("role") !== "table" && e.classList.contains("reflow")) say("reflowed table without a role", e);
    if (!e.querySelector("th[scope]")) say("table without headers", e);
  });
  document.querySelectorAll("[aria-labelledby]").forEach((e) => {
    e.getAttribute("aria-labelledby").split(" ").forEach((id) => { if (!document.getElementById(id)) say("labelled by nothing", e); });
  });
  let last = 1;
  document.querySelectorAll("h1, h2, h3").forEach((e) => {
    if (!seen(e)) return;
    const level = Number(e.tagName[1]);
    if (level > last + 1) say("a heading level is left out", e);
    last = level;
  });
  document.querySelectorAll("body *").forEach((e) => {
    const style = getComputedStyle(e);
    const scrolls = e.scrollWidth > e.clientWidth + 1 && ["auto", "scroll"].includes(style.overflowX);
    if (scrolls && seen(e) && e.tabIndex < 0 && !e.querySelector("a, button, input")) say("scrolls, but not by keyboard", e);
  });

  // contrast: 4.5 for text, 3 for large text
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (css) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = css;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const light = ([r, g, b]) => {
    const linear = [r, g, b].map((v) => ((v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const ground = (e) => {
    for (let at = e; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour[3] > 0.99) return colour;
    }
    return [255, 255, 255, 1];
  };
  const words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const done = new Set();
  while (words.nextNode()) {
    const e = words.currentNode.parentElement;
    if (!words.currentNode.textContent.trim() || done.has(e) || !seen(e) || e.closest("[disabled], .vh, script, title, desc")) continue;
    done.add(e);
    const style = getComputedStyle(e);
    const ink = rgba(e.closest("svg") ? style.fill : style.color);
    const [high, low] = [light(ink), light(ground(e))].sort((a, b) => b - a);
    const ratio = (high + 0.05) / (low + 0.05);
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (isLarge ? 3 : 4.5)) say("contrast " + ratio.toFixed(2), e);
  }
  return complaints;
}
