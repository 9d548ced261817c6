"""Prints what pip says about a list from standard input, in JSON.

`metadata`: texts of METADATA; whether the validator in pip, `packaging.metadata`, accepts each.
`install`: objects with a wheel, its project and an empty folder; the error of the installation, or the names of its scripts.
"""

import json
import logging
import os
import sys

from pip._internal.models.scheme import Scheme
from pip._internal.operations.install.wheel import install_wheel
from pip._vendor.packaging.metadata import Metadata


def is_valid(text):
    try:
        Metadata.from_email(text.encode("utf-8"), validate=True)
    except Exception:
        return False
    return True


def install(item):
    folder = item["folder"]
    scheme = Scheme(platlib=folder, purelib=folder, headers=folder + "/include", scripts=folder + "/bin", data=folder)
    try:
        install_wheel(item["name"], item["wheel"], scheme, item["name"], pycompile=False, warn_script_location=False)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    scripts = folder + "/bin"
    return {"scripts": sorted(os.listdir(scripts)) if os.path.isdir(scripts) else []}


logging.disable(logging.CRITICAL)
function = {"metadata": is_valid, "install": install}[sys.argv[1]]
json.dump([function(item) for item in json.load(sys.stdin)], sys.stdout)
