"""distutils, removed in Python 3.12."""

from __future__ import annotations

from ..model import Example, Patch
from ._gone import GoneModule


class Distutils(GoneModule):
    """strtobool, versions, find_executable, and what setuptools took over."""

    module = "distutils"
    names = {
        "distutils.util.strtobool": "@helper:strtobool",
        "distutils.version.LooseVersion": "packaging.version:Version",
        "distutils.version.StrictVersion": "packaging.version:Version",
        "distutils.spawn.find_executable": "shutil:which",
        "distutils.core.setup": "setuptools:setup",
        "distutils.core.Extension": "setuptools:Extension",
        "distutils.command.build_ext.build_ext": "setuptools.command.build_ext:build_ext",
        "distutils.command.build_py.build_py": "setuptools.command.build_py:build_py",
    }
    advice = "setuptools, shutil or sysconfig have most of it"
    patch = Patch(
        id="distutils-module",
        title="distutils",
        symptom="ModuleNotFoundError: No module named 'distutils'",
        cause="Python 3.12 removed distutils.",
        since={"python": "3.12"},
        fairseq="plugins",
        change="strtobool comes from the helper module, versions from packaging, find_executable is "
        "shutil.which, setup and "
        "Extension come from setuptools; other uses are reported.",
        matches=[
            ("no module named 'distutils'",),
            ("no module named 'distutils.",),
            ("distutils version classes are deprecated",),
            ("the distutils package is deprecated",),
        ],
        tokens=[b"distutils"],
        before="from distutils.util import strtobool\nyes = strtobool('y')\n",
        after="from _modern import strtobool\nyes = strtobool('y')\n",
        more=[
            Example(
                "from distutils.version import LooseVersion\nold = LooseVersion('1.2') < LooseVersion('1.10')\n",
                "from packaging.version import Version as LooseVersion\n"
                "old = LooseVersion('1.2') < LooseVersion('1.10')\n",
            ),
            Example(
                "import distutils.spawn\np = distutils.spawn.find_executable('ls')\n",
                "from shutil import which\np = which('ls')\n",
            ),
        ],
        untouched=["import setuptools\nname = 'distutils.util'\n"],
    )


RULE = Distutils
