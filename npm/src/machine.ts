/**
 * This machine as the command sees it: files, terminal and environment, by Node. Everything here
 * is synchronous, as the command is between its requests.
 */
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import process from 'node:process'
import tty from 'node:tty'
import { exchange, fetchWith, redirect } from './node-net.js'

/** Sleeps, since some descriptors have nothing to read or no room to write yet. */
function pause(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds)
}

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code

/** Repeats what a descriptor in non-blocking mode refuses. */
function blocking<T>(work: () => T): T {
  for (;;) {
    try {
      return work()
    } catch (error) {
      if (codeOf(error) !== 'EAGAIN') throw error
      pause(5)
    }
  }
}

function writeAll(descriptor: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) {
    done += blocking(() => fs.writeSync(descriptor, bytes, done))
  }
}

/**
 * Names a running process so that no later one has the same name: process ids are reused, so its
 * start time belongs to the name. Nothing if the process has ended. The native command does the same.
 */
function processName(pid: number): string | undefined {
  if (process.platform === 'linux') {
    const read = (file: string) => {
      try {
        return fs.readFileSync(file, 'utf8')
      } catch {
        return undefined
      }
    }
    // `pid (command) state …`: the start, in ticks since the boot, is the 22nd field.
    const stat = read(`/proc/${pid}/stat`)
    const fields = stat?.slice(stat.lastIndexOf(')') + 1).trim().split(/\s+/)
    if (fields === undefined || fields[0] === 'Z' || fields[0] === 'X') return undefined
    return `${pid}:${fields[19]}:${(read('/proc/sys/kernel/random/boot_id') ?? '').trim()}`
  }
  const env = { ...process.env, LC_ALL: 'C', TZ: 'UTC' }
  const { stdout } = spawnSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8', env })
  const start = (stdout ?? '').trim().replace(/\s+/g, '-')
  return start === '' ? undefined : `${pid}:${start}`
}

/** Makes the names in a directory durable. Windows does so itself. */
function syncDirectory(directory: string): void {
  if (process.platform === 'win32') return
  const descriptor = fs.openSync(directory, 'r')
  try {
    fs.fsyncSync(descriptor)
  } finally {
    fs.closeSync(descriptor)
  }
}

/** A place in the system's keyring, as the package has it that users install for this. */
function keyring(name: string) {
  try {
    const { Entry } = createRequire(import.meta.url)('@napi-rs/keyring') as typeof import('@napi-rs/keyring')
    // The kernel's keyring would forget.
    return new Entry('kez', name, { linux: { store: 'secret-service' } })
  } catch (error) {
    if (codeOf(error) !== 'MODULE_NOT_FOUND') throw error
    throw new Error('install the package @napi-rs/keyring beside kez')
  }
}

/** What the command gets of the machine. `isPublic` is the core's word on an address. */
export function machine(
  isPublic: (address: string) => boolean,
  socket: (new (url: string) => WebSocket) | undefined,
) {
  return {
    exchange,
    redirect,
    now: () => Date.now(),
    env: (name: string) => process.env[name],

    /** As the native command has it: the platform's own place for configuration. */
    configDir() {
      const home = os.homedir()
      if (process.platform === 'win32') {
        return path.join(process.env.APPDATA ?? path.join(home, 'AppData', 'Roaming'), 'kez', 'config')
      }
      if (process.platform === 'darwin') return path.join(home, 'Library', 'Application Support', 'kez')
      const named = process.env.XDG_CONFIG_HOME
      return path.join(named !== undefined && path.isAbsolute(named) ? named : path.join(home, '.config'), 'kez')
    },

    isTerminal: (stream: number) => tty.isatty(stream),

    print(stream: number, text: string) {
      try {
        writeAll(stream, Buffer.from(text))
      } catch {
        // As a shell shows a command that SIGPIPE ended.
        if (stream === 1) process.exit(141)
      }
    },

    readStdin(length: number) {
      const buffer = Buffer.alloc(Math.min(length, 65536))
      try {
        return buffer.subarray(0, blocking(() => fs.readSync(0, buffer)))
      } catch (error) {
        if (codeOf(error) === 'EOF') return buffer.subarray(0, 0)
        throw error
      }
    },

    /** Reads a line from the terminal without echo. */
    askSecret(prompt: string) {
      const { stdin } = process
      writeAll(2, Buffer.from(prompt))
      stdin.setRawMode(true)
      try {
        const bytes: number[] = []
        for (;;) {
          const byte = Buffer.alloc(1)
          const count = blocking(() => fs.readSync(0, byte))
          const [key = 4] = count === 0 ? [] : byte
          if (key === 3) process.exit(130)
          if (key === 10 || key === 13 || key === 4) return Buffer.from(bytes).toString('utf8')
          if (key === 8 || key === 127) bytes.pop()
          else bytes.push(key)
        }
      } finally {
        stdin.setRawMode(false)
        writeAll(2, Buffer.from('\n'))
      }
    },

    read(file: string, limit: number) {
      const descriptor = fs.openSync(file, 'r')
      try {
        const chunks: Buffer[] = []
        for (let total = 0; total <= limit; ) {
          const chunk = Buffer.alloc(Math.min(65536, limit + 1 - total))
          const count = fs.readSync(descriptor, chunk)
          if (count === 0) break
          chunks.push(chunk.subarray(0, count))
          total += count
        }
        return Buffer.concat(chunks)
      } finally {
        fs.closeSync(descriptor)
      }
    },

    stat(file: string) {
      const stat = fs.lstatSync(file)
      return [stat.isFile(), stat.size, process.platform === 'win32' ? undefined : stat.mode & 0o777]
    },

    list: (directory: string) => fs.readdirSync(directory),

    /** A synced temporary file, a rename and a synced directory: a crash or a full disk leaves the old content or the new. */
    write(file: string, bytes: Uint8Array, isPrivate: boolean, replace: boolean) {
      const directory = path.dirname(file)
      fs.mkdirSync(directory, { recursive: true, mode: isPrivate ? 0o700 : 0o755 })
      const temporary = path.join(directory, `.tmp${randomBytes(6).toString('hex')}`)
      const descriptor = fs.openSync(temporary, 'wx', isPrivate ? 0o600 : 0o644)
      try {
        try {
          writeAll(descriptor, bytes)
          fs.fsyncSync(descriptor)
        } finally {
          fs.closeSync(descriptor)
        }
        // A link, unlike a rename, never replaces.
        if (replace) fs.renameSync(temporary, file)
        else fs.linkSync(temporary, file)
      } finally {
        fs.rmSync(temporary, { force: true })
      }
      syncDirectory(directory)
    },

    remove(file: string) {
      fs.unlinkSync(file)
      syncDirectory(path.dirname(file))
    },

    /** Runs a program to its end, with a text on its standard input. */
    run(program: string, input: string) {
      const { status, error } = spawnSync(program, { input, stdio: ['pipe', 'inherit', 'inherit'] })
      // A program that does not read is none of our business.
      if (error !== undefined && codeOf(error) !== 'EPIPE') throw error
      return status ?? -1
    },

    keyringGet: (name: string) => keyring(name).getPassword() ?? undefined,

    keyringSet(name: string, secret?: string) {
      const entry = keyring(name)
      if (secret === undefined) entry.deletePassword()
      else entry.setPassword(secret)
    },

    /**
     * Node has no access to the system's locks, so a symbolic link names the process that holds the
     * lock. The native command takes this lock too. A link is made whole or not at all, and needs no
     * room on the disk. Gives what releases the lock; nothing if a running process holds it.
     */
    tryLock(file: string) {
      const mine = `${file}.node`
      const release = () => fs.rmSync(mine, { force: true })
      const self = processName(process.pid) ?? String(process.pid)
      fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 })
      for (;;) {
        try {
          fs.symlinkSync(self, mine)
          return release
        } catch (error) {
          if (codeOf(error) !== 'EEXIST') throw error
        }
        let owner: string
        try {
          owner = fs.readlinkSync(mine)
        } catch (error) {
          if (codeOf(error) === 'ENOENT') continue
          throw error
        }
        if (processName(Number(owner.split(':')[0])) === owner) return undefined
        // Another process may have replaced the stale link while this one looked its owner up.
        try {
          if (fs.readlinkSync(mine) === owner) release()
        } catch (error) {
          if (codeOf(error) !== 'ENOENT') throw error
        }
      }
    },

    sleep: pause,

    fetchWith: (loopback: boolean, hosts: [string, string][]) =>
      fetchWith({ isPublic, loopback, hosts: new Map(hosts) }),
    /** Tests serve relays of public names elsewhere, as `fetchWith` does with hosts. */
    webSocketWith: (hosts: [string, string][]) => {
      if (hosts.length === 0) return socket
      const bases = new Map(hosts)
      return class extends (socket ?? globalThis.WebSocket) {
        constructor(text: string) {
          const url = new URL(text)
          const base = bases.get(url.hostname)?.replace(/^http/, 'ws')
          super(base === undefined ? text : new URL(url.pathname + url.search, base).href)
        }
      }
    },
  }
}
