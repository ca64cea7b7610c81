from recsys.cli import export

if __name__ == "__main__":
    export()
