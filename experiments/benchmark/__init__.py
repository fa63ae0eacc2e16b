"""What ``bench.py`` and ``bench_gpu.py`` are made of: workloads, ways of evaluating, figures, plots."""
