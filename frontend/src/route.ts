// The address bar: `#overview`, `#features`, `#feature/123`, `#steering`, `#reading`.

export type Route = { view: "overview" | "features" | "steering" | "reading" } | { view: "feature"; feature: number };

/** The place that a hash names; anything unknown is the overview. */
export function parse(hash: string): Route {
  const name = hash.replace(/^#\/?/, "");
  const feature = /^feature\/(\d{1,9})$/.exec(name);
  if (feature) return { view: "feature", feature: Number(feature[1]) };
  if (name === "features" || name === "steering" || name === "reading") return { view: name };
  return { view: "overview" };
}

/** The hash of a place. */
export function link(route: Route): string {
  return route.view === "feature" ? `#feature/${route.feature}` : `#${route.view}`;
}
