"""Draws a report: as a page of HTML, a notebook's cell, JSON, a trace for a viewer, a table.

What is drawn was made in `core/trace`, or read from a journal; nothing here decides or measures.
"""
