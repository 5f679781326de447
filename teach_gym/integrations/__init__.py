"""Bridges to other libraries; each module needs its library and is imported only by name."""
