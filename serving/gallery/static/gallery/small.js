// Small things of several pages.

/** Buttons with data-copy, also later ones, put the text of the element with that id on the clipboard. */
export function copyButtons() {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const copied = document.querySelector(`#${button.dataset.copy}`);
    const before = button.textContent;
    try {
      await navigator.clipboard.writeText(copied.textContent);
      button.textContent = "✓";
    } catch { // no permission, or not https: let the person copy by hand
      getSelection().selectAllChildren(copied);
      return;
    }
    setTimeout(() => { button.textContent = before; }, 1500);
  });
}

/** Times on the reader's own clock; without this they are in UTC, and say so. */
export function localTimes(root) {
  const language = document.documentElement.lang;
  const form = new Intl.DateTimeFormat(language === "en" ? "en-GB" : language, { dateStyle: "medium", timeStyle: "short" });
  for (const one of root.querySelectorAll("time[data-local]")) {
    one.title = one.textContent;
    one.textContent = form.format(new Date(one.dateTime));
  }
}

/** Bytes as a person reads them, in the page's language: 1.2 MB, 1,2 Mo. */
export function size(bytes) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte"];
  let unit = 0;
  while (bytes >= 1000 && unit < units.length - 1) { bytes /= 1000; unit += 1; }
  const maximumFractionDigits = bytes >= 100 || unit === 0 ? 0 : 1;
  const form = { style: "unit", unit: units[unit], unitDisplay: unit ? "short" : "long", maximumFractionDigits };
  return new Intl.NumberFormat(document.documentElement.lang, form).format(bytes);
}

/** The bytes of a blob in base64. */
export async function base64(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}

/** Says the state of the run to screen readers where it is another one: the part that shows it is replaced each second. */
export function speakState() {
  const text = document.querySelector("[data-spoken]")?.dataset.spoken ?? "";
  const live = document.querySelector("#state");
  if (live && live.textContent !== text) live.textContent = text;
}
