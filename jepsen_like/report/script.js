"use strict";
// Everything can be read without this. It adds: a switch between light and dark, a copy
// button, a cross-hair over the charts, and the details of an operation on a tap.
(() => {
  const root = document.documentElement;
  const find = (selector, within = document) => within.querySelector(selector);
  const every = (selector, within = document) => [...within.querySelectorAll(selector)];

  // --- light and dark ---------------------------------------------------------------

  const button = find("#theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const label = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-pressed", String(isDark()));
    button.setAttribute("aria-label", `Show in ${isDark() ? "light" : "dark"} colours`);
  };
  button.addEventListener("click", () => {
    const wanted = isDark() ? "light" : "dark";
    if ((wanted === "dark") === system.matches) delete root.dataset.theme;
    else root.dataset.theme = wanted;
    label();
  });
  system.addEventListener("change", label);
  button.hidden = false;
  label();

  // --- the command ------------------------------------------------------------------

  const copy = find("#copy");
  const select = (node) => {
    const range = document.createRange();
    range.selectNodeContents(node);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
  };
  copy.addEventListener("click", async () => {
    const command = find("#command");
    try {
      await navigator.clipboard.writeText(command.textContent);
      copy.textContent = "Copied";
    } catch {
      select(command); // Not allowed here: one key press is left to the reader.
      copy.textContent = "Selected";
    }
    setTimeout(() => (copy.textContent = "Copy"), 2000);
  });
  copy.hidden = false;

  // --- the charts -------------------------------------------------------------------

  const tracks = find("#tracks");
  const numbers = JSON.parse(find("#numbers").textContent);
  const readout = find(".readout", tracks);
  const cross = find(".cross", tracks);
  const cells = Object.fromEntries(every("[data-of]", readout).map((e) => [e.dataset.of, e]));
  let at = 0;

  const took = (micros) => {
    if (micros === null) return "–";
    if (micros < 1e3) return `${micros} µs`;
    return micros < 1e6 ? `${+(micros / 1e3).toPrecision(3)} ms` : `${+(micros / 1e6).toPrecision(3)} s`;
  };
  const show = (place) => {
    at = Math.max(0, Math.min(numbers.ok.length - 1, place));
    const begin = at * numbers.lasts;
    const end = begin + numbers.lasts;
    const struck = numbers.faults.filter(([, from, to]) => from < end && to > begin);
    cells.at.textContent = `${begin} s`;
    cells.fault.textContent = struck.map(([kind]) => kind).join(", ") || "none";
    for (const name of ["ok", "info", "fail"]) {
      cells[name].textContent = `${+(numbers[name][at] / numbers.lasts).toFixed(1)}/s`;
    }
    for (const [name, [p50, p99]] of Object.entries(numbers.latency)) {
      cells[`latency ${name}`].textContent = `${took(p50[at])} · ${took(p99[at])}`;
    }
    cells.leader.textContent = numbers.leader[at] || "none";
    cells.term.textContent = numbers.term[at] || "–";
    draw();
  };
  const draw = () => {
    const box = find(".plot", tracks).getBoundingClientRect();
    const middle = Math.min((at + 0.5) * numbers.lasts / numbers.seconds, 1);
    const top = readout.offsetTop + readout.offsetHeight;
    cross.style.left = `${box.left - tracks.getBoundingClientRect().left + box.width * middle}px`;
    cross.style.top = `${top}px`;
    cross.hidden = false;
  };
  const point = (event) => {
    const box = find(".plot", tracks).getBoundingClientRect();
    if (event.clientX < box.left || event.clientX > box.right) return;
    const time = (event.clientX - box.left) / box.width * numbers.seconds;
    show(Math.floor(time / numbers.lasts));
  };
  tracks.addEventListener("pointermove", point);
  tracks.addEventListener("pointerdown", point);
  tracks.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    show(at + step * (event.shiftKey ? 10 : 1));
  });
  addEventListener("resize", () => cross.hidden || draw());
  readout.hidden = false;

  // --- violations -------------------------------------------------------------------

  for (const figure of every(".violation")) {
    const detail = find(".detail", figure);
    const tell = (event) => {
      const hit = event.target.closest(".hit");
      if (!hit) return;
      detail.textContent = hit.dataset.detail;
      detail.hidden = false;
    };
    figure.addEventListener("pointerover", tell);
    figure.addEventListener("click", tell);
    const box = find(".scroll", figure);
    const stuck = Number(find("svg", box).dataset.stuck ?? 0);
    box.scrollLeft = Math.max(0, stuck - box.clientWidth / 2);
  }

  // --- what is folded ---------------------------------------------------------------

  const reveal = () => {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    for (let up = target; up; up = up.parentElement) if (up.tagName === "DETAILS") up.open = true;
    if (target) target.scrollIntoView({ block: "center" });
  };
  addEventListener("hashchange", reveal);
  reveal();

  let folded = [];
  addEventListener("beforeprint", () => {
    folded = every("details:not([open])");
    for (const one of folded) one.open = true;
  });
  addEventListener("afterprint", () => {
    for (const one of folded) one.open = false;
  });
})();
