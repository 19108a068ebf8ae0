declare module 'virtual:stillkey-modules' {
  export const simd: string;
  export const plain: string;
}
declare module '*.css';
declare module '*?worker&inline' {
  const worker: new () => Worker;
  export default worker;
}
