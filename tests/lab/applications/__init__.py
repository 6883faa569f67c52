"""Whole applications on both routes, with the answers, bytes and connections of the original, and their matrix.

`hello_retail_lab` asks Hello, Retail! and reads what passed.
"""
