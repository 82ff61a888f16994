// Sends a zip and shows how far it is; then follows the run. fetch() does not tell how much it has sent.
const form = document.querySelector("[data-import]");

if (form) {
  const bar = form.querySelector("progress");
  const problem = form.querySelector("[data-problem]");
  const button = form.querySelector("button[type=submit]");

  const fail = (text) => {
    problem.textContent = text;
    problem.hidden = false;
    bar.hidden = true;
    button.disabled = false;
    problem.focus();
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const file = form.elements.file.files[0];
    const asked = new URLSearchParams({ model: form.elements.model.value, why: form.elements.why.value });
    if (form.elements.replace.checked) asked.set("replace", "yes");
    problem.hidden = true;
    button.disabled = true;
    bar.hidden = false;
    bar.value = 0;

    const request = new XMLHttpRequest();
    request.open("PUT", `${form.dataset.import}?${asked}`);
    request.setRequestHeader("X-CSRFToken", form.elements.csrfmiddlewaretoken.value);
    request.setRequestHeader("Accept-Language", document.documentElement.lang);
    request.responseType = "json";
    request.upload.addEventListener("progress", (sent) => {
      if (sent.lengthComputable) bar.value = (100 * sent.loaded) / sent.total;
    });
    request.addEventListener("load", () => {
      const answer = request.response || {};
      if (request.status === 200) location.assign(answer.address);
      else fail([answer.found, answer.fix].filter(Boolean).map(sentence).join(" ") || form.dataset.failed);
    });
    request.addEventListener("error", () => fail(form.dataset.failed));
    request.send(file);
  });
}

function sentence(part) { return `${part[0].toUpperCase()}${part.slice(1)}.`; }
