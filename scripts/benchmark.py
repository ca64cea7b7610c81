from recsys.cli import benchmark

if __name__ == "__main__":
    benchmark()
