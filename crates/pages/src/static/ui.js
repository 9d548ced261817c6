"use strict";
// All pages work without this file. It adds buttons that copy, suggestions while a name is typed, a shortcut for the
// search field, and the links of Posit Package Manager, whose part after # never reaches a server. It loads pages of a
// session again.
(() => {
  const root = document.body.dataset.root;
  const search = document.querySelector("[type=search]");

  // A browser that goes back may show a page of a session that has ended, without a request.
  if (document.querySelector("[data-automation=sign-out]")) {
    addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  }

  const hash = location.hash;
  const names = document.getElementById("repository-numbers");
  if (names && hash.startsWith("#/")) {
    const [path, query] = hash.slice(2).split("?");
    const decode = (text) => { try { return decodeURIComponent(text); } catch { return text; } };
    const parts = path.split("/").filter(Boolean).map(decode);
    const parameters = new URLSearchParams(query);
    const target = () => {
      if (parts[0] !== "repos" || !parts[1]) return null;
      const rows = names.content.textContent.split("\n").map((line) => line.split(" "));
      const row = rows.find(([number]) => number === parts[1]);
      const repo = row ? row[1] : /^[0-9]+$/.test(parts[1]) ? null : parts[1];
      if (!repo) return null;
      const snapshot = /^[0-9]{4}-[0-9]{2}-[0-9]{2}$/.test(parameters.get("snapshot") || "")
        ? parameters.get("snapshot") : "latest";
      const page = `${root}${encodeURIComponent(repo)}/${snapshot}/`;
      const [, , kind, name] = parts;
      if (kind === "packages") {
        if (name && name !== "overview") return `${page}web/packages/${encodeURIComponent(name)}/`;
        const text = parameters.get("search");
        return `${page}web/packages/${text ? `?q=${encodeURIComponent(text)}` : ""}`;
      }
      if (kind === "setup") {
        const options = new URLSearchParams();
        if (parameters.get("distribution")) options.set("platform", parameters.get("distribution"));
        if (parameters.get("bioconductor_version")) options.set("bioc", parameters.get("bioconductor_version"));
        return options.size ? `${page}?${options}` : page;
      }
      if (kind === "activity") return `${page}web/changes/`;
      return page;
    };
    const to = target();
    if (to) location.replace(to);
    else if (parts[0] === "repos") {
      const notice = document.createElement("p");
      notice.className = "notice";
      notice.setAttribute("role", "status");
      notice.textContent = "The link names a repository that is not listed here. These are listed:";
      document.querySelector("h1").after(notice);
    }
  }

  if (navigator.clipboard) {
    for (const figure of document.querySelectorAll(".snippet")) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "Copy";
      button.addEventListener("click", async () => {
        try {
          await navigator.clipboard.writeText(figure.querySelector("pre").textContent);
          button.textContent = "Copied";
        } catch {
          button.textContent = "Not copied";
        }
        setTimeout(() => { button.textContent = "Copy"; }, 2000);
      });
      figure.querySelector("figcaption").append(button);
    }
  }

  const repo = search && search.dataset.repository;
  if (repo) {
    const list = document.createElement("datalist");
    list.id = "suggestions";
    search.after(list);
    search.setAttribute("list", list.id);
    let timer = 0, request = null;
    search.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(async () => {
        if (request) request.abort();
        const text = search.value.trim();
        if (text.length < 2) return list.replaceChildren();
        request = new AbortController();
        const query = new URLSearchParams({ name_search: text, exact_first: "true", _limit: "8" });
        const { snapshot, bioconductor } = search.dataset;
        if (snapshot) query.set("snapshot", snapshot);
        if (bioconductor) query.set("bioc_version", bioconductor);
        const url = `${root}__api__/repos/${encodeURIComponent(repo)}/packages?${query}`;
        try {
          const answer = await fetch(url, { signal: request.signal });
          if (!answer.ok) return;
          const rows = await answer.json();
          list.replaceChildren(...rows.map((row) => {
            const option = document.createElement("option");
            option.value = row.name;
            option.label = row.title || "";
            return option;
          }));
        } catch { /* aborted by further typing, or no network: the form still works */ }
      }, 150);
    });
  }

  if (search) {
    // Links with #search= fill the field, and the address has the text that is typed, as in Posit Package Manager.
    const linked = hash.startsWith("#search=") && new URLSearchParams(hash.slice(1)).get("search");
    if (linked) search.value = linked;
    search.addEventListener("input", () => {
      const text = search.value.trim();
      const part = text ? `#search=${encodeURIComponent(text)}` : location.pathname + location.search;
      history.replaceState(null, "", part);
    });
    document.addEventListener("keydown", (event) => {
      if ((event.ctrlKey || event.metaKey) && event.key === "k") {
        event.preventDefault();
        search.focus();
      }
    });
  }
})();
