"""metarl: the toolkit for robots that adapt.

What is listed in `__init__.pyi` is imported when it is first used: torch alone takes a second.
"""

import lazy_loader

import metarl.openmp  # noqa: F401

__version__ = "0.2.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
