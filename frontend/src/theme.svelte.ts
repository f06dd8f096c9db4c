// Light or dark: the reader's system decides until the reader does.

import { glowProperties, type Theme } from "./scale";

const KEY = "bathyscope-theme";

function remembered(): Theme | null {
  try {
    const value = localStorage.getItem(KEY);
    return value === "light" || value === "dark" ? value : null;
  } catch {
    return null;
  }
}

const system = matchMedia("(prefers-color-scheme: dark)");
let chosen = $state<Theme | null>(remembered());
let systemDark = $state(system.matches);
system.addEventListener("change", (event) => (systemDark = event.matches));

export const theme = {
  get current(): Theme {
    return chosen ?? (systemDark ? "dark" : "light");
  },
  toggle(): void {
    chosen = theme.current === "dark" ? "light" : "dark";
    try {
      localStorage.setItem(KEY, chosen);
    } catch {
      // A browser that keeps nothing still shows the chosen theme.
    }
  },
};

/** Write the theme's name and scale colours on the root element. */
export function applyTheme(): void {
  const root = document.documentElement;
  root.dataset.theme = theme.current;
  for (const [name, value] of Object.entries(glowProperties(theme.current))) root.style.setProperty(name, value);
}
