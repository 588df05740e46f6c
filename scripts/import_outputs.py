from oodbench.commands.import_outputs import main

if __name__ == "__main__":
    main()
