"""The PDF report: a page to read, like Fig. 5 of Topff et al. 2023, and a page of methods and limits."""

from __future__ import annotations

import logging
from datetime import datetime
from html import escape
from itertools import chain

from fpdf import FPDF
from fpdf.enums import DocumentCompliance

import lungct
from lungct.report import pdf_parts as parts
from lungct.report.content import ReportContent
from lungct.report.glyphs import FONTS, TEXT_FONT, choose_fonts
from lungct.report.illustrations import Illustrations
from lungct.settings import Paper

CREATOR = f"lungct {lungct.__version__}"

_XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
    xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:pdfaid="http://www.aiim.org/pdfa/ns/id/">
<rdf:Description rdf:about=""
    xmp:CreatorTool="{creator}" xmp:CreateDate="{created}" xmp:ModifyDate="{created}">
<pdfaid:part>2</pdfaid:part><pdfaid:conformance>U</pdfaid:conformance>
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">{title}</rdf:li></rdf:Alt></dc:title>
</rdf:Description></rdf:RDF></x:xmpmeta>"""
"""Metadata in place of fpdf2's, which state the time of the clock, so that the same analysis gives the same
bytes."""

logging.getLogger("fpdf").setLevel(logging.ERROR)
"""Its warnings quote the characters of a patient's name that a font lacks."""


def render_pdf(
    content: ReportContent, illustrations: Illustrations, created: datetime, paper: Paper = "A4"
) -> bytes:
    """Return the report as a PDF/A-2u file that bears the local time ``created``."""
    page = _Document(content, created, paper)
    parts.write_header(page, content)
    parts.write_banners(page, content)
    parts.write_flags(page, content)
    parts.place_pictures(page, content, illustrations)
    parts.place_scales(page, content, illustrations)
    parts.write_regions(page, content)
    parts.write_conclusion(page, content)
    page.add_page()
    parts.write_details(page, content)
    return bytes(page.output())


class _Document(FPDF):
    """A PDF with our fonts, and the notice at the foot of every page."""

    def __init__(self, content: ReportContent, created: datetime, paper: Paper) -> None:
        super().__init__(format=paper, enforce_compliance=DocumentCompliance.PDFA_2U)
        self.words = content.words
        self.set_creation_date(created)
        self.set_title(self.words("title"))
        self.set_lang(self.words.language)
        title = escape(self.words("title"))
        self.set_xmp_metadata(_XMP.format(title=title, created=created.isoformat(), creator=CREATOR))
        self._add_fonts(content)
        self.set_margin(parts.MARGIN_MM)
        self.set_auto_page_break(auto=True, margin=parts.MARGIN_MM)
        self.add_page()

    def _add_fonts(self, content: ReportContent) -> None:
        """Add the fonts that the text needs; shaping joins letters and orders them from right to left."""
        self.add_font(parts.FONT, fname=FONTS / f"{TEXT_FONT}.ttf")
        self.add_font(parts.FONT, "B", fname=FONTS / f"{TEXT_FONT}-Bold.ttf")
        others = choose_fonts("".join([*chain(*content.header), *(flag.message for flag in content.flags)]))
        for font in others:
            self.add_font(font, fname=FONTS / f"{font}.ttf")
        self.set_fallback_fonts([*others, parts.FONT], exact_match=False)
        self.set_text_shaping(use_shaping_engine=True)

    def footer(self) -> None:
        """Write notice and page number; called by fpdf2."""
        self.set_y(2 - parts.MARGIN_MM)
        parts.write(self, self.words("notice"), 6.5, rgb=parts.ALERT_RGB)
        self.set_y(2 - parts.MARGIN_MM)
        self.set_text_color(*parts.GREY)
        self.cell(self.epw, 3, self.words("page", page=self.page_no(), pages="{nb}"), align="R")
