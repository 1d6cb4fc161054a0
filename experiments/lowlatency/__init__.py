"""Low-latency video segmentation (Li, Shi & Lin 2018): what it learns, and what it gains."""
