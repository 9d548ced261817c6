# Prints, for each project of a mirror and each day, the files that existed at its end, with the reasons of their yanks:
# JSON of {project: {day: {file: reason or null}}}, with null for a day with the same files as the day before it in the
# list of days. Reads the HTML pages only.
import html.parser, json, pathlib, sys

class Page(html.parser.HTMLParser):
    link, files = None, {}
    def handle_starttag(self, tag, attributes):
        self.link = dict(attributes) if tag == "a" else None
    def handle_data(self, text):
        if self.link is not None:
            self.files[text.strip()] = (self.link["data-upload-time"][:10], self.link.get("data-yanked"))
        self.link = None

result = {}
for folder in pathlib.Path(sys.argv[1]).iterdir():
    if (folder / "index.html").is_file():
        page = Page()
        page.files = {}
        page.feed((folder / "index.html").read_text(encoding="utf-8"))
        last = None
        for day in sys.argv[2:]:
            listed = {name: yank for name, (uploaded, yank) in page.files.items() if uploaded <= day}
            result.setdefault(folder.name, {})[day] = None if listed == last else listed
            last = listed
print(json.dumps(result))
