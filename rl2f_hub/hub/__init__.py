"""What reaches the Hub and how: commits, cards, adapters, collections, jobs, and errors worth reading.

Data sets are in `publish`, an embedded Hub in `localhub`.
"""
