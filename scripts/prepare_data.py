from oodbench.commands.data import main

if __name__ == "__main__":
    main()
