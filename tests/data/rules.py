"""Rules for system requirements, with a sample of texts: rules.py TO

Written for these tests in the format of the public rules; the package names are those of the distributions.
"""

import json
import pathlib
import random
import sys

SYSTEMS = {
    "debian": ["10", "11", "12", "13", "unstable"],
    "ubuntu": ["14.04", "16.04", "18.04", "20.04", "22.04", "24.04", "26.04"],
    "centos": ["6", "7", "8"],
    "rockylinux": ["8", "9", "10"],
    "redhat": ["6", "7", "8", "9", "10"],
    "opensuse": ["42.3", "15.0", "15.2", "15.3", "15.4", "15.5", "15.6"],
    "sle": ["12.3", "15.0", "15.2", "15.3", "15.4", "15.5", "15.6"],
    "fedora": ["40", "41"],
    "alpine": ["3.20", "3.21", "edge"],
}
DEBIAN, REDHAT, SUSE = ["ubuntu", "debian"], ["centos", "rockylinux", "redhat", "fedora"], ["opensuse", "sle"]

# Rule: its patterns; packages of Debian and Ubuntu, of Red Hat's family, of SUSE's.
PLAIN = {
    "atk": (["atk"], "libatk1.0-dev", "atk-devel", "atk-devel"),
    "automake": (["automake"], "automake", "automake", "automake"),
    "boost": (["boost", "libboost"], "libboost-all-dev", "boost-devel", "boost-devel"),
    "cairo": (["cairo", "libcairo"], "libcairo2-dev", "cairo-devel", "cairo-devel"),
    "cmake": (["cmake"], "cmake", "cmake", "cmake"),
    "exiftool": (["exiftool"], "libimage-exiftool-perl", "perl-Image-ExifTool", "exiftool"),
    "fftw3": (["fftw3?"], "libfftw3-dev", "fftw-devel", "fftw3-devel"),
    "fontconfig": (["fontconfig"], "libfontconfig1-dev", "fontconfig-devel", "fontconfig-devel"),
    "freetype": (["freetype2?"], "libfreetype6-dev", "freetype-devel", "freetype2-devel"),
    "git": (["git"], "git", "git", "git"),
    "glib": (["glib"], "libglib2.0-dev", "glib2-devel", "glib2-devel"),
    "glpk": (["glpk"], "libglpk-dev", "glpk-devel", "glpk-devel"),
    "gmp": (["gmp", "gnu mp"], "libgmp3-dev", "gmp-devel", "gmp-devel"),
    "gnumake": (["gnu make", "gmake"], "make", "make", "make"),
    "gsl": (["gsl", "gnu scientific library"], "libgsl0-dev", "gsl-devel", "gsl-devel"),
    "haveged": (["haveged"], "haveged", "haveged", "haveged"),
    "hdf5": (["hdf5"], "libhdf5-dev", "hdf5-devel", "hdf5-devel"),
    "imagemagick": (["imagemagick", "image magick"], "imagemagick libmagick++-dev", "ImageMagick ImageMagick-c++-devel", "ImageMagick"),
    "jags": (["jags"], "jags", "jags", "jags"),
    "libarchive": (["libarchive"], "libarchive-dev", "libarchive-devel", "libarchive-devel"),
    "libcurl": (["libcurl"], "libcurl4-openssl-dev", "libcurl-devel", "libcurl-devel"),
    "libjpeg": (["libjpeg", "jpeg"], "libjpeg-dev", "libjpeg-turbo-devel", "libjpeg8-devel"),
    "libpng": (["libpng", "png"], "libpng-dev", "libpng-devel", "libpng16-devel"),
    "libsodium": (["libsodium"], "libsodium-dev", "libsodium-devel", "libsodium-devel"),
    "libssh2": (["libssh2"], "libssh2-1-dev", "libssh2-devel", "libssh2-devel"),
    "libtiff": (["libtiff", "tiff"], "libtiff-dev", "libtiff-devel", "libtiff-devel"),
    "libxml2": (["libxml2"], "libxml2-dev", "libxml2-devel", "libxml2-devel"),
    "mpfr": (["mpfr"], "libmpfr-dev", "mpfr-devel", "mpfr-devel"),
    "mysql": (["mysql", "mariadb"], "libmysqlclient-dev", "mariadb-devel", "libmariadb-devel"),
    "netcdf": (["netcdf"], "libnetcdf-dev", "netcdf-devel", "netcdf-devel"),
    "nlopt": (["nlopt"], "libnlopt-dev", "NLopt-devel", "nlopt-devel"),
    "odbc": (["odbc3?", "unixodbc"], "unixodbc-dev", "unixODBC-devel", "unixODBC-devel"),
    "openmpi": (["openmpi", "open mpi"], "libopenmpi-dev", "openmpi-devel", "openmpi-devel"),
    "openssl": (["openssl"], "libssl-dev", "openssl-devel", "libopenssl-devel"),
    "pandoc": (["pandoc"], "pandoc", "pandoc", "pandoc"),
    "perl": (["perl"], "perl", "perl", "perl"),
    "poppler": (["poppler"], "libpoppler-cpp-dev", "poppler-cpp-devel", "libpoppler-devel"),
    "postgresql": (["postgresql", "libpq"], "libpq-dev", "libpq-devel", "postgresql-devel"),
    "python": (["python"], "python3", "python3", "python3"),
    "sqlite3": (["sqlite3?"], "libsqlite3-dev", "sqlite-devel", "sqlite3-devel"),
    "tcltk": (["tcl/?tk", "tktable"], "tk tk-table", "tk tktable", "tk tktable"),
    "tesseract": (["tesseract"], "libtesseract-dev", "tesseract-devel", "tesseract-ocr-devel"),
    "udunits2": (["udunits-?2?"], "libudunits2-dev", "udunits2-devel", "udunits2-devel"),
    "v8": (["v8"], "libnode-dev", "v8-devel", ""),
    "zeromq": (["zeromq", "zmq"], "libzmq3-dev", "zeromq-devel", "zeromq-devel"),
    "zlib": (["zlib"], "zlib1g-dev", "zlib-devel", "zlib-devel"),
}


def of(*systems):
    """Constraints of texts such as `"centos 6 7"`: a distribution and its versions."""
    for system in systems:
        name, *versions = system.split()
        yield {"os": "linux", "distribution": name} | ({"versions": versions} if versions else {})


def block(packages, *systems, before=(), after=()):
    found = {"packages": packages.split(), "constraints": list(of(*systems))}
    if before:
        found["pre_install"] = [{"command": line} for line in before]
    if after:
        found["post_install"] = [{"command": line} for line in after]
    return found


def rule(patterns, *blocks):
    return {"patterns": [rf"\b{pattern}\b" for pattern in patterns], "dependencies": list(blocks)}


def plain(patterns, debian, redhat, suse):
    blocks = [block(debian, *DEBIAN), block(redhat, *REDHAT)] + ([block(suse, *SUSE)] if suse else [])
    return rule(patterns, *blocks)


EPEL = "yum install -y epel-release"
EPEL8 = ["dnf install -y dnf-plugins-core", "dnf config-manager --set-enabled powertools", "dnf install -y epel-release"]
UBUNTUGIS = [
    "apt-get install -y software-properties-common",
    "add-apt-repository -y ppa:ubuntugis/ppa",
    "apt-get update",
]


def spatial(patterns, debian, redhat, redhat8):
    """Geospatial libraries: those of old systems are outdated, so other repositories are added."""
    return rule(
        patterns,
        block(debian, "ubuntu 14.04 16.04", before=UBUNTUGIS),
        block(debian, *DEBIAN),
        block(redhat, "centos 6 7", before=[EPEL]),
        block(redhat8, "centos 8", "rockylinux 8", before=EPEL8),
        block(redhat, "rockylinux 9 10", "redhat 8 9", "fedora", before=["dnf install -y epel-release"]),
        block(redhat, "opensuse"),
    )


def rules():
    found = {name: plain(*row) for name, row in PLAIN.items()}
    found["gdal"] = spatial(["gdal", "libgdal"], "libgdal-dev gdal-bin", "gdal-devel gdal", "gdal-devel gdal sqlite-devel")
    found["geos"] = spatial(["geos"], "libgeos-dev", "geos-devel", "geos-devel")
    found["proj"] = spatial(["proj", r"proj\.4"], "libproj-dev", "proj-devel", "proj-devel")
    java = ["R CMD javareconf"]
    found["java"] = rule(
        ["java"],
        block("default-jdk", *DEBIAN, after=java),
        block("java-1.8.0-openjdk-devel", "centos", "redhat 7 8", after=java),
        block("java-11-openjdk-devel", "rockylinux 9", "redhat 9", "fedora", after=java),
        block("java-1_8_0-openjdk-devel", "opensuse 42.3 15.0", "sle 12.3 15.0", after=java),
        block("java-11-openjdk-devel", *SUSE, after=java),
    )
    found["chrome"] = rule(
        ["chrome"],
        block("google-chrome-stable", *DEBIAN, before=["apt-get install -y wget", "apt-get update"], after=["rm -f chrome.deb"]),
    )
    # Windows has no packages to install.
    found["rtools"] = {"patterns": [r"\brtools\b"], "dependencies": [{"packages": [], "constraints": [{"os": "windows"}]}]}
    return found


def texts(chance, base):
    """SystemRequirements fields in the styles of maintainers."""
    words = [pattern.strip("\\b").replace("\\b", "").replace("?", "").replace("\\", "") for one in base.values() for pattern in one["patterns"]]
    nothing = ["C++11", "C++17", "A system with a mouse", "none", "R (>= 3.5)", "C compiler", "Fortran", "libsomething", "pngs", "prejava"]
    for _ in range(1486):
        some = chance.sample(words, chance.choice([0, 1, 1, 1, 2, 3])) + chance.sample(nothing, chance.choice([0, 0, 1]))
        some = [chance.choice([word, word, word.upper(), word.capitalize()]) for word in some] or [chance.choice(nothing)]
        version = lambda: f"{chance.randint(0, 9)}.{chance.randint(0, 20)}"
        some = [word + chance.choice(["", "", f" (>= {version()})", f" {version()} or newer", ": see the README"]) for word in some]
        yield chance.choice([", ", "; ", ",\n", " and ", "\n    "]).join(some)


def main(target):
    root = pathlib.Path(target) / "sysreqs"
    (root / "rules").mkdir(parents=True, exist_ok=True)
    (root / "test").mkdir(exist_ok=True)
    base = rules()
    for name, one in base.items():
        (root / f"rules/{name}.json").write_text(json.dumps(one, indent=2) + "\n")
    systems = [{"os": "linux", "distribution": name, "versions": of} for name, of in SYSTEMS.items()]
    (root / "systems.json").write_text(json.dumps([*systems, {"os": "windows"}], indent=2) + "\n")
    sample = [
        {"Package": f"sample{index}", "Version": "1.0", "SystemRequirements": text}
        for index, text in enumerate(texts(random.Random(1486), base))
    ]
    (root / "test/sysreqs.json").write_text(json.dumps(sample, indent=1, ensure_ascii=False) + "\n")


main(sys.argv[1])
