from oodbench.commands.registry import main

if __name__ == "__main__":
    main()
