/** Light or dark: as the system has it, unless somebody chose. The document always says which, in `data-theme`. */

export const THEMES = ["system", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

const KEY = "eratos.theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

export function chosen(): Theme {
  return THEMES.find((theme) => theme === localStorage.getItem(KEY)) ?? "system";
}

export function choose(theme: Theme): void {
  localStorage.setItem(KEY, theme);
  show();
}

/** Shows what is chosen, from now on also when the system changes. */
export function follow(): void {
  dark.addEventListener("change", show);
  show();
}

function show(): void {
  const theme = chosen();
  document.documentElement.dataset.theme = theme === "system" ? (dark.matches ? "dark" : "light") : theme;
}
