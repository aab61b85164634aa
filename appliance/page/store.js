// What the browser keeps. One that refuses (private mode, full) still gets a page that works until
// it is closed.
const memory = new Map();

function wrap(storage) {
  return {
    get(name) {
      try {
        return storage().getItem(name) ?? memory.get(name) ?? null;
      } catch {
        return memory.get(name) ?? null;
      }
    },
    /** False if it will not outlive the page. */
    set(name, text) {
      try {
        storage().setItem(name, text);
        memory.delete(name);
        return true;
      } catch {
        memory.set(name, text);
        return false;
      }
    },
    remove(name) {
      memory.delete(name);
      try {
        storage().removeItem(name);
      } catch {
        // It was never there.
      }
    },
    names(prefix) {
      let names = [...memory.keys()];
      try {
        names = names.concat(Object.keys(storage()));
      } catch {
        // Only what is in memory, then.
      }
      return names.filter((name) => name.startsWith(prefix));
    },
  };
}

/** Shared by the browser's tabs, and there after a restart. */
export const shared = wrap(() => window.localStorage);

/** This tab's own, until it is closed. */
export const own = wrap(() => window.sessionStorage);

/** JSON that may have been damaged or written by an older page. */
export function parse(text, fallback) {
  try {
    return JSON.parse(text) ?? fallback;
  } catch {
    return fallback;
  }
}
