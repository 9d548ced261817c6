# An independent reader of a Python repository: standard library only. Reads lines "{snapshot} {project}" from standard
# input; for each it compares the page as JSON with the page as HTML, fetches every file and its metadata, and writes one
# line of JSON: {file name: [sha256, yanked, has metadata]}, or null if the page does not exist.
import hashlib, html.parser, json, sys, urllib.error, urllib.parse, urllib.request

base = sys.argv[1]
known = {}


def fetch(url, accept=None):
    request = urllib.request.Request(url, headers={"Accept": accept} if accept else {})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.url, answer.headers["Content-Type"], answer.read()


class Anchors(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.files, self.open = [], None

    def handle_starttag(self, tag, attributes):
        if tag == "a":
            self.open = dict(attributes), ""

    def handle_data(self, text):
        if self.open:
            self.open = self.open[0], self.open[1] + text

    def handle_endtag(self, tag):
        if tag == "a":
            self.files.append(self.open)
            self.open = None


def digest(url):
    if url not in known:
        known[url] = hashlib.sha256(fetch(url)[2]).hexdigest()
    return known[url]


def page(url):
    try:
        final, kind, body = fetch(url, "application/vnd.pypi.simple.v1+json")
    except urllib.error.HTTPError as error:
        assert error.code == 404, error
        return None
    assert kind == "application/vnd.pypi.simple.v1+json", kind
    document, found = json.loads(body), {}
    for file in document["files"]:
        assert "dist-info-metadata" not in file and isinstance(file["size"], int) and file["upload-time"].endswith("Z")
        link = urllib.parse.urljoin(final, file["url"])
        assert digest(link) == file["hashes"]["sha256"], link
        metadata = file.get("core-metadata")
        if metadata:
            assert digest(link + ".metadata") == metadata["sha256"], link
        found[file["filename"]] = [file["hashes"]["sha256"], file["yanked"], bool(metadata)]
        parts = file["filename"].replace(".tar.gz", "").split("-")
        assert parts[1] in document["versions"], file
    anchors = Anchors()
    final, kind, body = fetch(url, "text/html")
    assert kind.startswith("text/html"), kind
    anchors.feed(body.decode())
    same = {}
    for attributes, text in anchors.files:
        link, _, fragment = attributes["href"].partition("#")
        assert urllib.parse.unquote(link.rsplit("/", 1)[1]) == text
        yanked = attributes.get("data-yanked", False)
        yanked = True if yanked == "" else yanked
        metadata = attributes.get("data-core-metadata")
        assert metadata == attributes.get("data-dist-info-metadata")
        same[text] = [fragment.removeprefix("sha256="), yanked, bool(metadata)]
    assert same == found, (same, found)
    assert [text for _, text in anchors.files] == [file["filename"] for file in document["files"]]
    return found


for line in sys.stdin:
    snapshot, project = line.split()
    print(json.dumps(page(f"{base}/{snapshot}/simple/{project}/")))
