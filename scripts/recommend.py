from recsys.cli import recommend

if __name__ == "__main__":
    recommend()
