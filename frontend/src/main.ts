import { mount } from "svelte";
import App from "./App.svelte";
import { book } from "./book.svelte";
import { applyTheme } from "./theme.svelte";
import "./styles/page.css";
import "./styles/glow.css";

applyTheme();
void book.open();
mount(App, { target: document.getElementById("app")! });
