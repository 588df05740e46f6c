"""Pictures of a report for docs/images, each below 150 kB:  python docs/screenshots.py results/report.html docs/images

Needs playwright (in the extra `dev`) and a Chromium, such as Debian's package `chromium`. Where there are pdflatex and
pdftoppm, the tables for a paper become a picture, too.
"""

import argparse
import io
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps
from playwright.sync_api import Page, sync_playwright

from oodbench.runs.record import MAIN_SCORES
from oodbench.tables.load import load_runs
from oodbench.tables.paper.style import Style
from oodbench.tables.write import write_paper

LARGEST = 150_000  # bytes of a picture
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTHS = {"wide": (1280, 860), "phone": (390, 844)}
SHOTS = {  # name: (width, scheme, the part of the page, "" for its first screen)
    "report": ("wide", "light", ""),
    "report-dark": ("wide", "dark", ""),
    "report-phone": ("phone", "light", ""),
    "scores": ("wide", "light", ".figure-scores"),
    "threshold": ("wide", "light", ".threshold"),
    "heat": ("wide", "light", ".heatmap"),
    "cliques": ("wide", "light", ".figure-cliques"),
    "roc": ("wide", "light", ".figure-roc"),
    "reliability": ("wide", "light", ".figure-reliability"),
    "components": ("wide", "dark", ".figure-components"),
}

LATEX = r"""
\documentclass{article}
\usepackage[margin=2cm]{geometry}
\usepackage{booktabs}
\pagestyle{empty}
\makeatletter\setlength{\@fptop}{0pt}\setlength{\@fpsep}{1em}\makeatother
\begin{document}TABLES\end{document}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Take pictures of a report.")
    parser.add_argument("report", type=Path)
    parser.add_argument("out", type=Path, help="the folder to write them to")
    args = parser.parse_args()
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not browser or not args.report.is_file():
        raise SystemExit(f"screenshots: {'no ' + ' or '.join(BROWSERS) if not browser else f'no file {args.report}'}")
    args.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for name, (width, scheme, part) in SHOTS.items():
            across, down = WIDTHS[width]
            options: dict[str, Any] = {"viewport": {"width": across, "height": down}, "color_scheme": scheme}
            page = chromium.new_page(**options, device_scale_factor=2 if width == "phone" else 1)
            page.goto(args.report.resolve().as_uri())
            if taken := picture(page, part):
                file = args.out / f"{name}.png"
                file.write_bytes(taken)
                print(f"{file} ({len(taken) / 1000:.0f} kB)")
            page.close()
        chromium.close()
    if shutil.which("pdflatex") and shutil.which("pdftoppm"):
        file = args.out / "paper.png"
        file.write_bytes(paper_tables(args.report.parent))
        print(f"{file} ({file.stat().st_size / 1000:.0f} kB)")


def picture(page: Page, part: str) -> bytes | None:
    """Return the first screen, or a part, as a PNG of few colours; None where the page has no such part."""
    if not part:
        return reduced(page.screenshot())
    page.add_style_tag(content=".controls { position: static }")  # else they lie over a part higher than the screen
    found = page.locator(part)
    return reduced(found.first.screenshot()) if found.count() else None


def paper_tables(results_dir: Path) -> bytes:
    """Return what LaTeX makes of the tables for a paper, one beneath the other, as a PNG without margins."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tables = write_paper(folder, load_runs(results_dir).runs, "idpos", list(MAIN_SCORES), Style())
        inputs = "".join(rf"\input{{{table.name}}}" for table in tables)
        (folder / "page.tex").write_text(LATEX.replace("TABLES", inputs))
        for command in ("pdflatex -interaction=nonstopmode page", "pdftoppm -r 110 -png page.pdf page"):
            subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
        image = Image.open(next(folder.glob("page*.png"))).convert("L")
    box = ImageOps.invert(image).getbbox()
    assert box  # a page of tables is not empty
    file = io.BytesIO()
    ImageOps.expand(image.crop(box), 16, fill=255).save(file, "PNG")
    return reduced(file.getvalue())


def reduced(png: bytes) -> bytes:
    """Reduce colours, and after them the size, until a picture is small."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    for colors in (256, 128, 64, 32):
        file = io.BytesIO()
        image.quantize(colors, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
        if file.tell() < LARGEST:
            break
    else:
        return reduced(_halved(image))
    return file.getvalue()


def _halved(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS).save(file, "PNG")
    return file.getvalue()


if __name__ == "__main__":
    main()
