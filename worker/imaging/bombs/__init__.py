"""Files built so that reading them costs far more than their pixels, found by their structure.

A parser in Python spends about a microsecond on each thing it steps over, a decoder passes over the
whole picture for each scan, and neither can be stopped once it runs. What a file makes them do is
counted here first. The limits are far from what programs write; times are of one core of 2024.
"""
