// Runs before the first paint: the theme that a person chose with "t"; without a choice the system's.
try {
  var chosen = localStorage.getItem("theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch (refused) { /* storage is off: the system's theme it is */ }
