"""Pages of one file: what all of them need, from the check of the path to the script that draws."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trimtab.types import TrimtabError


def check_path(path: Path) -> None:
    """TrimtabError, before the work is done, if a page cannot be written there."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise TrimtabError(f"--html {path}: expected a file name that ends in .html")
    if not path.parent.is_dir():
        raise TrimtabError(f"--html {path}: there is no folder {path.parent}; make it first")


def write_page(text: str, path: Path) -> None:
    """The page, whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise TrimtabError(f"--html {path}: cannot be written ({error.strerror}); choose another place") from error


def render(template: str, figures_by_name: dict[str, Any], **values: Any) -> str:
    """A template of this package with its charts, plotly and what else it names; it opens without a network."""
    import jinja2
    from plotly.offline import get_plotlyjs

    from trimtab.research import figures
    from trimtab.research.report import script_json

    charts = {name: json.loads(str(figure.to_json())) for name, figure in figures_by_name.items()}
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("trimtab.research", ""), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template(template).render(
        charts=charts,
        payload=script_json({"charts": charts, "prices": [], "palette": figures.PALETTE}),
        plotly=get_plotlyjs().replace("</script", "<\\/script"),
        **values,
    )
