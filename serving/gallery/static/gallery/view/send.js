// Sends a correction. Errors come back as `{error}`, in words.
import { text } from "./page.js";

/** @param body a text, a Blob, or null for "it was right" */
export async function send(address, body) {
  const token = document.querySelector("[name=csrfmiddlewaretoken]").value;
  const kind = typeof body === "string" ? "text/plain" : "application/octet-stream";
  const headers = { "X-CSRFToken": token, "Content-Type": kind, "Accept-Language": document.documentElement.lang };
  try {
    const answer = await fetch(body == null ? `${address}?right=1` : address, { method: "POST", body, headers });
    const found = await answer.json().catch(() => ({}));
    return answer.ok ? found : { error: [found.found, found.fix].filter(Boolean).map(sentence).join(" ") || text("failed") };
  } catch {
    return { error: text("unreachable") };
  }
}

function sentence(part) { return `${part[0].toUpperCase()}${part.slice(1)}.`; }
