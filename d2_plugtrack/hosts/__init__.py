"""Detectors of other frameworks behind the protocol of ``core/detector.py``."""
