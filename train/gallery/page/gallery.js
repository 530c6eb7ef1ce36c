// Sorts and filters the cards, which are whole without this.
"use strict";

const cards = [...document.querySelectorAll(".result")];
const holder = document.getElementById("cards"), sort = document.getElementById("sort"), find = document.getElementById("find");
const kinds = [...document.querySelectorAll("#kinds button")];
const order = new Map(cards.map((card, place) => [card, place]));
const highest = (name) => (a, b) => Number(b.dataset[name] || -Infinity) - Number(a.dataset[name] || -Infinity) || order.get(a) - order.get(b);
const BY = {
  "": (a, b) => order.get(a) - order.get(b),
  name: (a, b) => a.dataset.name.localeCompare(b.dataset.name) || order.get(a) - order.get(b),
  value: highest("value"), samples: highest("samples"), time: highest("time"),
};

function update() {
  const kind = kinds.find((button) => button.getAttribute("aria-pressed") === "true").dataset.kind;
  const wanted = find.value.trim().toLowerCase();
  for (const card of cards) card.hidden = (kind && card.dataset.kind !== kind) || !card.textContent.toLowerCase().includes(wanted);
  holder.replaceChildren(...[...cards].sort(BY[sort.value]));
  document.getElementById("none").hidden = cards.some((card) => !card.hidden);
}

for (const button of kinds) {
  button.addEventListener("click", () => {
    for (const other of kinds) other.setAttribute("aria-pressed", String(other === button));
    update();
  });
}
sort.addEventListener("change", update);
find.addEventListener("input", update);
